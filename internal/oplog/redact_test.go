package oplog

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// encodings are the ways in which a secret may be written down. prefix and suffix stand next to it before it is encoded.
var encodings = map[string]func(prefix, s, suffix string) string{
	"raw":          func(p, s, q string) string { return p + s + q },
	"query":        func(p, s, q string) string { return url.QueryEscape(p + s + q) },
	"path":         func(p, s, q string) string { return url.PathEscape(p + s + q) },
	"every byte":   func(p, s, q string) string { return p + everyByte("%%%02x", s) + q },
	"query twice":  func(p, s, q string) string { return url.QueryEscape(url.QueryEscape(p + s + q)) },
	"JSON":         func(p, s, q string) string { return jsonText(p+s+q, true) },
	"JSON \\u":     func(p, s, q string) string { return p + unicodeEscapes(s) + q },
	"JSON in JSON": func(p, s, q string) string { return jsonText(`{"a":"`+jsonText(p+s+q, false)+`"}`, true) },
	"quoted JSON in a query": func(p, s, q string) string {
		return "x=" + url.QueryEscape(`{"a":"`+jsonText(p+s+q, true)+`"}`)
	},
	"Go":        func(p, s, q string) string { return fmt.Sprintf("%+q", p+s+q) },
	"HTML":      func(p, s, q string) string { return html.EscapeString(p + s + q) },
	"base64":    func(p, s, q string) string { return base64.StdEncoding.EncodeToString([]byte(p + s + q)) },
	"base64url": func(p, s, q string) string { return base64.RawURLEncoding.EncodeToString([]byte(p + s + q)) },
	"base64 in a query": func(p, s, q string) string {
		return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(p + s + q)))
	},
	"base64 of JSON": func(p, s, q string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(jsonText(p+s+q, true)))
	},
	"Basic": func(_, s, _ string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+s)) },
	"Basic of OAuth": func(_, s, _ string) string {
		return base64.StdEncoding.EncodeToString([]byte("id:" + url.QueryEscape(s)))
	},
	"hexadecimal":       func(p, s, q string) string { return hex.EncodeToString([]byte(p + s + q)) },
	"upper hexadecimal": func(p, s, q string) string { return strings.ToUpper(hex.EncodeToString([]byte(p + s + q))) },
	"password of a URL": func(_, s, _ string) string {
		return (&url.URL{Scheme: "https", Host: "a.test", User: url.UserPassword("u", s)}).String()
	},
	"parameter of a URL": func(_, s, _ string) string { return "https://a.test/p?x=1&y=" + url.QueryEscape(s) + "&z=2" },
	"segment of a URL":   func(_, s, _ string) string { return "https://a.test/v1/" + url.PathEscape(s) + "/x" },
	"form":               func(p, s, q string) string { return url.Values{"x": {p + s + q}}.Encode() },
	"the text of a token": func(p, s, q string) string {
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(`{"k":"`+p+s+q+`"}`)) + "."
	},
}

func everyByte(format, s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func unicodeEscapes(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x10000 {
			fmt.Fprintf(&b, `\u%04X`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// leak tries to read the secret out of a text as an attacker would, independently of how the redactor looks for it.
func leak(text, s string) string {
	for depth := range 4 {
		if strings.Contains(text, s) {
			return fmt.Sprintf("readable after %d decodings", depth)
		}
		decoded := text
		if d, err := url.QueryUnescape(decoded); err == nil {
			decoded = d
		}
		if strings.Contains(decoded, s) {
			return "percent-encoded"
		}
		if d, err := url.PathUnescape(text); err == nil && strings.Contains(d, s) {
			return "percent-encoded"
		}
		if strings.Contains(html.UnescapeString(text), s) {
			return "in HTML"
		}
		for _, run := range strings.FieldsFunc(decoded, func(r rune) bool { return r > 127 || !isBase64(byte(r)) }) {
			run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
			for skip := range min(4, len(run)) {
				part := run[skip:]
				part = part[:len(part)/4*4]
				if raw, err := base64.StdEncoding.DecodeString(part); err == nil {
					text := string(raw)
					if d, err := url.QueryUnescape(text); err == nil && strings.Contains(d, s) || strings.Contains(text, s) {
						return "in base64"
					}
				}
			}
			if raw, err := hex.DecodeString(run); err == nil && strings.Contains(string(raw), s) {
				return "in hexadecimal"
			}
		}
		var unquoted string
		if json.Unmarshal([]byte(`"`+text+`"`), &unquoted) != nil && json.Unmarshal([]byte(text), &unquoted) != nil {
			unquoted = decoded
		}
		text = unquoted
	}
	return ""
}

// inFields puts text into every field that takes one.
func inFields(text string) (Message, Record) {
	member, _ := json.Marshal(map[string]any{"k": text, "n": []any{map[string]string{text: "v"}}})
	failure := &Failure{Name: text, Message: "it said " + text, Type: text, Payload: member}
	request := &HTTPRequest{URL: text, Method: text, Headers: map[string]string{"X-Plain": text, text: "v"}, Body: "a " + text + " b"}
	response := &HTTPResponse{Code: 200, Headers: map[string]string{"Location": text}, Body: text}
	m := Message{
		Text: text, Error: failure, Request: request, Response: response, Meta: member,
		Persist: &PersistResults{AddedKeys: []string{text}, UpdatedKeys: []string{text}, DeletedKeys: []string{text}},
	}
	return m, Record{Message: text, Error: failure, Request: request, Response: response, Meta: member}
}

func fieldTexts(t interface{ Fatal(args ...any) }, v any) []string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for k, item := range v {
				all = append(all, k)
				walk(item)
			}
		}
	}
	walk(tree)
	return append(all, string(raw))
}

func TestNoCredentialLeaksThroughAnyFieldInAnyEncoding(t *testing.T) {
	t.Parallel()
	credentials := map[string]string{
		"api key":           "sk-live-51HxYzAbCdEf",
		"access token":      "ya29.a0AfB_by+C/d=e~f",
		"basic password":    `p@ss w"o\rd&<é/ü>'%41`,
		"jwt":               "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_x",
		"private key":       "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n",
		"numeric pin":       "8675309123",
		"six characters":    "x7$Qk9",
		"emoji pass phrase": "correct 🐎 battery staple",
	}
	for kind, s := range credentials {
		for how, encode := range encodings {
			t.Run(kind+" "+how, func(t *testing.T) {
				t.Parallel()
				for _, around := range [][2]string{{"", ""}, {"a", "b"}, {"ab", "cd"}, {"abc", "cde"}, {`{"k":"`, `"}`}} {
					var r redactor
					r.add([]secret.Text{secret.New(s)})
					m, o := inFields(encode(around[0], s, around[1]))
					r.message(&m)
					r.record(&o)
					for _, text := range append(fieldTexts(t, m), fieldTexts(t, o)...) {
						if how := leak(text, s); how != "" {
							t.Fatalf("around %q the secret is %s: %q", around, how, text)
						}
					}
				}
			})
		}
	}
}

func TestALineOfAPrivateKeyIsASecretToo(t *testing.T) {
	t.Parallel()
	var r redactor
	r.add([]secret.Text{secret.New("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END KEY-----")})
	if got := r.clean("bad line MIIEvQIBADANBgkqhkiG9w0B, short -----BEGIN KEY-----"); got != "bad line [redacted], short -----BEGIN KEY-----" {
		t.Errorf("got %q", got)
	}
}

func TestNoEncodingOfARandomSecretSurvives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// What the mark itself is made of can not be hidden by it.
		s := rapid.StringOfN(rapid.RuneFrom([]rune(`ABCDEFGHKLMNOPQ0123456789+/=-_.~!@#$%^&*() "'\<>?:;,{}|é✓`)), 6, 80, -1).Draw(t, "secret")
		other := rapid.StringOfN(rapid.RuneFrom([]rune("ABCXYZ0123456789")), 6, 20, -1).Draw(t, "other")
		prefix := rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "prefix")
		suffix := rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "suffix")
		how := rapid.SampledFrom(keys(encodings)).Draw(t, "encoding")
		var r redactor
		r.add([]secret.Text{secret.New(other), secret.New(s)})
		text := encodings[how](prefix, s, suffix)
		isMark := strings.Contains(secret.Redacted, s) //nolint:gocritic // a secret that is part of the mark itself
		if got := r.clean(text); strings.Contains(got, s) && !isMark {
			t.Fatalf("%s: readable in %q", how, got)
		} else if encoded := encodings[how]("", s, ""); len(encoded) > 12 && strings.Contains(got, encoded) {
			t.Fatalf("%s: %q is left in %q", how, encoded, got)
		}
	})
}

func keys[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

func FuzzCleanHidesTheSecretAndKeepsTheRest(f *testing.F) {
	f.Add("sk_live_123", `{"a":"\u0073k_live_123"}`)
	f.Add("a%20b+c\\", `a%2520b%2Bc%5C https://u:p@h/?code=1`)
	f.Add("x \x00y\xffz", "%78+%00y%FFz&amp;")
	f.Fuzz(func(t *testing.T, s, text string) {
		var r redactor
		r.add([]secret.Text{secret.New(s)})
		got := r.clean(text + " " + s + " " + text)
		// A text that holds half of the mark may make a secret out of it.
		isMark := strings.Contains(secret.Redacted, s) //nolint:gocritic // a secret that is part of the mark itself
		if len(s) >= minSecret && strings.Contains(got, s) && !strings.ContainsAny(s, "[]") && !isMark {
			t.Errorf("the secret %q is left in %q", s, got)
		}
		if m := r.json(json.RawMessage(text)); len(m) > 0 && !json.Valid(m) {
			t.Errorf("%q is not JSON any more: %q", text, m)
		}
		var nothing redactor
		if plain := strings.NewReplacer("=", "", ":", "").Replace(text); nothing.clean(plain) != plain {
			t.Errorf("without secrets and names %q became %q", plain, nothing.clean(plain))
		}
	})
}

func TestWhatANameGivesAwayIsRedactedWithoutKnowingIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://a.test/cb?code=abc&state=xyz":                 "https://a.test/cb?code=[redacted]&state=xyz",
		"GET https://a.test/?Access-Token=abc#refresh_token=d": "GET https://a.test/?Access-Token=[redacted]#refresh_token=[redacted]",
		"grant_type=password&password=abc&client_secret=d e":   "grant_type=password&password=[redacted]&client_secret=[redacted] e",
		"https://user:pa:ss@a.test/x and ftp://me@b.test":      "https://user:[redacted]@a.test/x and ftp://me@b.test",
		"https://ghp_0123456789abcdef@git.test/r":              "https://[redacted]@git.test/r",
		`{"access_token" : "a\"b","expires_in":3}`:             `{"access_token" : "[redacted]","expires_in":3}`,
		`{"body":"{\"refreshToken\":\"ab\",\"x\":\"y\"}"}`:     `{"body":"{\"refreshToken\":\"[redacted]\",\"x\":\"y\"}"}`,
		`{"Authorization":"Bearer abc","key":"k"}`:             `{"Authorization":"[redacted]","key":"k"}`,
		"error code=500, a=b, token = c":                       "error code=500, a=b, token = c",
		"https://a.test/?api_key=":                             "https://a.test/?api_key=",
		"https://a.test/?page_token=abc&keyword=x":             "https://a.test/?page_token=abc&keyword=x",
		`{"token_type":"bearer","password":null}`:              `{"token_type":"bearer","password":null}`,
	} {
		var r redactor
		if got := r.clean(text); got != want {
			t.Errorf("%s\n became %s\n   want %s", text, got, want)
		}
	}
}

func TestHeadersAreLowerCaseWithoutNoiseAndCredentials(t *testing.T) {
	t.Parallel()
	var r redactor
	given := map[string]string{
		"Authorization": "Bearer a", "Proxy-Authorization": "b", "Cookie": "c", "Set-Cookie": "d", "X-Api-Key": "e", "api-key": "f", "X-Shop-Access-Token": "g",
		"X-Client-Secret": "h", "DD-APPLICATION-KEY": "i", "Private-Token": "j", "Idempotency-Key": "k", "Content-Type": "text/plain", "CF-Ray": "l",
		"Access-Control-Allow-Origin": "*", "X-RateLimit-Remaining": "5", "Location": "/cb?code=secret&x=1",
	}
	want := map[string]string{
		"authorization": "[redacted]", "proxy-authorization": "[redacted]", "x-api-key": "[redacted]", "api-key": "[redacted]",
		"x-shop-access-token": "[redacted]", "x-client-secret": "[redacted]", "dd-application-key": "[redacted]", "private-token": "[redacted]",
		"idempotency-key": "k", "content-type": "text/plain", "x-ratelimit-remaining": "5", "location": "/cb?code=[redacted]&x=1",
	}
	if diff := cmp.Diff(want, r.headers(given)); diff != "" {
		t.Error(diff)
	}
	if len(given) != 16 || given["Authorization"] != "Bearer a" {
		t.Error("the caller's headers were changed")
	}
}

func TestLongFieldsAreCutVisiblyAndNeverThroughASecret(t *testing.T) {
	t.Parallel()
	const s = "supersecretvalue"
	var r redactor
	r.add([]secret.Text{secret.New(s)})
	for shift := range len(s) + 2 {
		body := strings.Repeat("x", bodyLimit-shift) + s + strings.Repeat("y", 3*bodyLimit)
		got := r.text(body, bodyLimit)
		if strings.Contains(got, s[:4]) {
			t.Fatalf("half a secret is left %d before the cut: …%q", shift, got[len(got)-80:])
		}
		if len(got) > bodyLimit+60 || !strings.HasSuffix(got, fmt.Sprintf("[truncated, %d bytes in all]", len(body))) {
			t.Fatalf("%d bytes, ending in %q", len(got), got[len(got)-60:])
		}
	}
	m := Message{Text: strings.Repeat("é", textLimit+1), Meta: json.RawMessage(`{"small":1,"big":"` + strings.Repeat("z", jsonLimit) + `"}`)}
	r.message(&m)
	if n := strings.Count(m.Text, "é"); n != textLimit || !strings.Contains(m.Text, "[truncated") {
		t.Errorf("%d characters are left, ending in %q", n, m.Text[len(m.Text)-40:])
	}
	var meta map[string]any
	if err := json.Unmarshal(m.Meta, &meta); err != nil || meta["small"] != 1.0 || !strings.Contains(fmt.Sprint(meta["big"]), "[truncated") {
		t.Errorf("meta %.200s, %v", m.Meta, err)
	}
	if m := r.json(json.RawMessage(`["` + strings.Repeat("z", jsonLimit) + `"]`)); len(m) > 100 || !json.Valid(m) {
		t.Errorf("a long list became %.200s", m)
	}
	short := Message{Text: strings.Repeat("é", textLimit)}
	r.message(&short)
	if strings.Contains(short.Text, "truncated") {
		t.Error("a text of exactly the limit was cut")
	}
}

func BenchmarkRedact(b *testing.B) {
	body := strings.Repeat(`{"id":123,"name":"Ada Lovelace","url":"https://a.test/x?page=2"},`, 32)
	for name, secrets := range map[string][]secret.Text{"no secrets": nil, "three secrets": {secret.New("sk-live-51HxYzAbCdEf"), secret.New("another-secret-42"), secret.New("id:4711-4711")}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				var r redactor
				r.add(secrets)
				m := Message{Text: "GET https://a.test/x?page=2", Request: &HTTPRequest{URL: "https://a.test/x?page=2", Method: "GET", Headers: map[string]string{"accept": "*/*"}}, Response: &HTTPResponse{Code: 200, Body: body}}
				r.message(&m)
			}
		})
	}
}
