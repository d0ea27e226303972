package oauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Encodings of a request.
const (
	formatForm  = "form"
	formatJSON  = "json"
	formatQuery = "query" // everything in the URL, no body
)

// fields are the fields of a request in the order in which they are sent.
type fields []field

type field struct {
	name  string
	value any
}

func (f *fields) find(name string) int {
	return slices.IndexFunc(*f, func(one field) bool { return one.name == name })
}

func (f *fields) set(name string, value any) {
	if i := f.find(name); i >= 0 {
		(*f)[i].value = value
		return
	}
	*f = append(*f, field{name, value})
}

func (f *fields) setIfAbsent(name string, value any) {
	if f.find(name) < 0 {
		*f = append(*f, field{name, value})
	}
}

// setAll sets values in the order of their names, except those called except.
func (f *fields) setAll(values map[string]any, except ...string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(except, name) {
			f.set(name, values[name])
		}
	}
}

// form encodes spaces as %20, which every decoder understands; "+" is not understood by all.
func (f *fields) form() string {
	parts := make([]string, 0, len(*f))
	for _, one := range *f {
		parts = append(parts, escape(one.name)+"="+escape(text(one.value)))
	}
	return strings.Join(parts, "&")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// text is how a value of any JSON type is written in a form.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case map[string]any, []any:
		data, err := json.Marshal(v)
		if err != nil { // values that came from JSON
			panic(err)
		}
		return string(data)
	default:
		return fmt.Sprint(v)
	}
}

func (f *fields) json() ([]byte, error) {
	all := make(map[string]any, len(*f))
	for _, one := range *f {
		all[one.name] = one.value
	}
	return json.Marshal(all)
}

// build makes the request.
func (c call) build(ctx context.Context) (*http.Request, error) {
	target := c.url.String()
	var body io.Reader
	contentType := ""
	switch c.format {
	case formatForm:
		body, contentType = strings.NewReader(c.body.form()), "application/x-www-form-urlencoded"
	case formatJSON:
		data, err := c.body.json()
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(data), "application/json"
	case formatQuery:
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + c.body.form()
	default:
		return nil, fmt.Errorf("body_format %s does not exist for this grant", c.format)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	r.Header = c.header
	r.Header.Set("Accept", "application/json")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r, nil
}

// basic writes id and secret as they are, as most providers that ask for it expect.
func basic(id string, clientSecret secret.Text) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+clientSecret.Reveal()))
}

// basicEscaped form-encodes both first, as RFC 6749 §2.3.1 demands.
func basicEscaped(id string, clientSecret secret.Text) string {
	return basic(url.QueryEscape(id), secret.New(url.QueryEscape(clientSecret.Reveal())))
}

func joinScopes(scopes []string, separator string) string {
	if separator == "" {
		separator = " "
	}
	return strings.Join(scopes, separator)
}
