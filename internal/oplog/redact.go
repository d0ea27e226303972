package oplog

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// redactor makes messages and operations fit to be kept: known secrets are replaced in every encoding, so are values whose
// names give them away, noise is dropped, and what is too long is cut (after the secrets are gone, so that none is cut in
// two). It never changes what the caller's pointers and maps point to.
type redactor struct {
	secrets []string
	needles *needles // built when first used after a change
}

// add makes secrets known. Those under six bytes are not looked for: they would blank half of every text.
func (r *redactor) add(secrets []secret.Text) {
	for _, s := range secrets {
		r.know(s.Reveal(), minSecret)
		if lines := strings.FieldsFunc(s.Reveal(), func(c rune) bool { return c == '\n' || c == '\r' }); len(lines) > 1 {
			for _, line := range lines {
				if !strings.HasPrefix(line, "-----") { // the frame of a key is the same for all keys
					r.know(line, lineSecret)
				}
			}
		}
	}
}

func (r *redactor) know(s string, shortest int) {
	if len(s) >= shortest && !slices.Contains(r.secrets, s) {
		r.secrets, r.needles = append(r.secrets, s), nil
	}
}

func (r *redactor) find() *needles {
	if r.needles == nil && len(r.secrets) > 0 {
		r.needles = newNeedles(r.secrets)
	}
	return r.needles
}

func (r *redactor) message(m *Message) {
	m.Text = cutRunes(r.text(m.Text, 4*textLimit), textLimit)
	m.Error = r.failure(m.Error)
	m.Request = r.request(m.Request)
	m.Response = r.response(m.Response)
	m.Meta = r.json(m.Meta)
	if m.Persist != nil && len(r.secrets) > 0 {
		p := *m.Persist
		p.AddedKeys, p.UpdatedKeys, p.DeletedKeys = r.keys(p.AddedKeys), r.keys(p.UpdatedKeys), r.keys(p.DeletedKeys)
		m.Persist = &p
	}
}

func (r *redactor) record(o *Record) {
	o.Message = cutRunes(r.text(o.Message, 4*textLimit), textLimit)
	o.Error = r.failure(o.Error)
	o.Request = r.request(o.Request)
	o.Response = r.response(o.Response)
	o.Meta = r.json(o.Meta)
}

func (r *redactor) failure(f *Failure) *Failure {
	if f == nil {
		return nil
	}
	return &Failure{
		Name: r.text(f.Name, nameLimit), Message: cutRunes(r.text(f.Message, 4*textLimit), textLimit), Type: r.text(f.Type, nameLimit),
		Payload: r.json(f.Payload),
	}
}

func (r *redactor) request(q *HTTPRequest) *HTTPRequest {
	if q == nil {
		return nil
	}
	return &HTTPRequest{
		URL: r.text(q.URL, urlLimit), Method: r.text(q.Method, nameLimit), Headers: r.headers(q.Headers), Body: r.text(q.Body, bodyLimit),
	}
}

func (r *redactor) response(p *HTTPResponse) *HTTPResponse {
	if p == nil {
		return nil
	}
	return &HTTPResponse{Code: p.Code, Headers: r.headers(p.Headers), Body: r.text(p.Body, bodyLimit)}
}

func (r *redactor) headers(headers map[string]string) map[string]string {
	kept := make(map[string]string, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		lower := strings.ToLower(name)
		switch {
		case isNoise(lower):
		case isCredentialHeader(lower):
			kept[r.text(lower, nameLimit)] = secret.Redacted
		default:
			kept[r.text(lower, nameLimit)] = r.text(headers[name], headerLimit)
		}
	}
	return kept
}

func (r *redactor) keys(keys []string) []string {
	clean := make([]string, len(keys))
	for i, key := range keys {
		clean[i] = r.text(key, nameLimit)
	}
	return clean
}

// json cleans JSON. When a secret was not within a string, the result is a string with the text that is left.
func (r *redactor) json(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	if !json.Valid(raw) {
		return quoted(r.text(string(raw), jsonLimit/2)) // quoting may double it
	}
	raw = shrinkJSON(raw, jsonLimit)
	clean := r.clean(string(raw))
	if clean == string(raw) {
		return raw
	}
	if !json.Valid([]byte(clean)) {
		return quoted(clean)
	}
	return json.RawMessage(clean)
}

func quoted(s string) json.RawMessage {
	raw, _ := json.Marshal(s) // a string always marshals
	return raw
}

// text cleans s and keeps about limit bytes of it.
func (r *redactor) text(s string, limit int) string {
	total := len(s)
	if total <= limit {
		return r.clean(s)
	}
	margin := 0
	if n := r.find(); n != nil {
		margin = n.margin
	}
	// Only what may be kept is looked at, and so much more that a secret at the border is seen whole. What then stands at the
	// very end may be the beginning of one, and goes.
	if total > limit+margin {
		s = s[:limit+margin]
	}
	s = r.clean(s)
	if total > limit+margin {
		s = s[:max(0, len(s)-margin)]
	}
	return cutBytes(s, limit, total)
}

func (r *redactor) clean(s string) string {
	if s == "" {
		return s
	}
	if n := r.find(); n != nil {
		s = n.clean(s)
	}
	return byName(s)
}
