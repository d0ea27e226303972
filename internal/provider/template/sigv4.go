package template

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// awsSigV4 returns the value of an Authorization header by AWS Signature Version 4, computed over the names method, path,
// urlCanonicalParams, bodyCanonicalParams and contentType of the scope and the clock. It signs host and x-amz-date (which
// the template must send in the form YYYYMMDDTHHmmssZ) and content-type when there is one.
//
// args are access key, secret key, region, service and optionally the host, by default <service>.amazonaws.com.
func (e *evaluation) awsSigV4(args []string) (string, bool) {
	if slices.Contains(args[:4], "") || e.scope.Now.IsZero() {
		return "", false
	}
	accessKey, secretKey, region, service := args[0], args[1], args[2], args[3]
	host := service + ".amazonaws.com"
	if len(args) == 5 && args[4] != "" {
		host = args[4]
	}
	now := e.scope.Now.UTC()
	stamp, day := now.Format("20060102T150405Z"), now.Format("20060102")

	headers, signed := "", ""
	if contentType := e.fact("contentType"); contentType != "" {
		headers, signed = "content-type:"+contentType+"\n", "content-type;"
	}
	headers += "host:" + host + "\nx-amz-date:" + stamp + "\n"
	signed += "host;x-amz-date"

	request := strings.Join([]string{
		strings.ToUpper(e.fact("method")), e.fact("path"), e.fact("urlCanonicalParams"),
		headers, signed, hexSHA256(e.fact("bodyCanonicalParams")),
	}, "\n")
	credential := day + "/" + region + "/" + service + "/aws4_request"
	toSign := "AWS4-HMAC-SHA256\n" + stamp + "\n" + credential + "\n" + hexSHA256(request)

	key := []byte("AWS4" + secretKey)
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = hmacSHA256(key, part)
	}
	return "AWS4-HMAC-SHA256 Credential=" + accessKey + "/" + credential + ", SignedHeaders=" + signed +
		", Signature=" + hex.EncodeToString(hmacSHA256(key, toSign)), true
}

func (e *evaluation) fact(name string) string {
	text, _ := e.scope.text(name, false)
	return text
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func hmacSHA256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
