package grant

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Kinds of token, which are also their visible prefix.
const (
	kindCode    = "acme_ac_"
	kindAccess  = "acme_at_"
	kindRefresh = "acme_rt_"
)

// seal makes and recognises tokens. A token names two numbers and carries their MAC, so none has to be stored.
type seal struct{ key []byte }

func newSeal(seed uint64) seal {
	key := sha256.Sum256(fmt.Appendf(nil, "acme tokens %d", seed))
	return seal{key[:]}
}

// mint makes the token of kind for the pair of numbers: prefix, both in base 36, 18 bytes of MAC.
func (s seal) mint(epoch uint64, kind string, a, b uint64) string {
	body := strconv.FormatUint(a, 36) + "." + strconv.FormatUint(b, 36)
	mac := hmac.New(sha256.New, s.key)
	fmt.Fprintf(mac, "%s%d.%s", kind, epoch, body)
	return kind + body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// parse is the inverse of mint; false means that the token was not minted here in this epoch.
func (s seal) parse(epoch uint64, kind, token string) (a, b uint64, ok bool) {
	rest, ok := strings.CutPrefix(token, kind)
	parts := strings.SplitN(rest, ".", 4)
	if !ok || len(parts) != 3 {
		return 0, 0, false
	}
	a, errA := strconv.ParseUint(parts[0], 36, 64)
	b, errB := strconv.ParseUint(parts[1], 36, 64)
	if errA != nil || errB != nil {
		return 0, 0, false
	}
	return a, b, equal(token, s.mint(epoch, kind, a, b))
}

// equal compares in constant time.
func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// Challenge is PKCE's S256 of a verifier (RFC 7636 §4.2).
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
