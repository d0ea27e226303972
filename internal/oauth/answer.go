package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// answer is what a token endpoint said.
type answer struct {
	status int
	// values are nil when the body is no object.
	values map[string]any
	raw    json.RawMessage
}

// parseAnswer reads a body: a JSON object, or a form, which some endpoints send although JSON was asked for.
func parseAnswer(resp *http.Response, data []byte) answer {
	a := answer{status: resp.StatusCode}
	if values, ok := parseObject(data); ok {
		a.values, a.raw = values, bytes.TrimSpace(data)
		return a
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" && media != "text/plain" {
		return a
	}
	form, err := url.ParseQuery(string(data))
	if err != nil || !form.Has("access_token") && !form.Has("error") {
		return a
	}
	a.values = make(map[string]any, len(form))
	for name := range form {
		a.values[name] = form.Get(name)
	}
	a.raw = marshal(a.values)
	return a
}

func parseObject(data []byte) (map[string]any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var values map[string]any
	if err := decoder.Decode(&values); err != nil || values == nil {
		return nil, false
	}
	_, err := decoder.Token()
	return values, err == io.EOF
}

func marshal(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil { // values that came from JSON
		panic(err)
	}
	return data
}

// token reads the answer of a refresh. When access_token is missing, the alternate path leads to it or to an object with the
// whole trio.
func (a answer) token(alternate string, now time.Time) (Token, error) {
	from, strict := a.values, true
	access := str(from["access_token"])
	if access == "" && alternate != "" {
		switch v := walk(a.values, alternate).(type) {
		case string:
			access = v
		case map[string]any:
			// expires_in 0 is no expiry there.
			from, strict = v, false
			access = str(from["access_token"])
		}
	}
	if access == "" {
		return Token{}, a.unusable()
	}
	t := Token{
		Access: secret.New(access), Refresh: secret.New(str(from["refresh_token"])), ExpiresAt: expiry(from, time.Second, strict, now), Raw: a.raw,
	}
	if !t.ExpiresAt.IsZero() {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(a.raw, &fields); err != nil { // it was parsed before
			panic(err)
		}
		fields["expires_at"] = marshal(t.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000Z"))
		t.Raw = marshal(fields)
	}
	return t, nil
}

// clientToken reads the answer of a client-credentials request.
func (a answer) clientToken(unit time.Duration, now time.Time) (Token, error) {
	access := str(a.values["access_token"])
	if data, ok := a.values["data"].(map[string]any); access == "" && ok {
		access = str(data["token"])
	}
	if access == "" {
		access = str(a.values["jwt"])
	}
	if access == "" {
		return Token{}, a.unusable()
	}
	t := Token{Access: secret.New(access), ExpiresAt: expiry(a.values, unit, false, now), Raw: a.raw}
	if t.ExpiresAt.IsZero() {
		t.ExpiresAt = now.Add(defaultLifetime).UTC()
	}
	return t, nil
}

// Metadata reads values of the answer by their dotted paths, for the connection_config: texts and booleans, under the path as
// their name. Others are left out.
func (t Token) Metadata(paths []string) map[string]any {
	if len(paths) == 0 {
		return nil
	}
	values, _ := parseObject(t.Raw)
	found := map[string]any{}
	for _, path := range paths {
		switch v := walk(values, path).(type) {
		case string, bool:
			found[path] = v
		}
	}
	return found
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

// walk follows a dotted path through objects and lists.
func walk(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch inner := v.(type) {
		case map[string]any:
			v = inner[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(inner) {
				return nil
			}
			v = inner[i]
		default:
			return nil
		}
	}
	return v
}
