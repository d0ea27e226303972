package proxyrequest

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/provider/weburl"
)

// Target is where a request goes.
type Target struct {
	URL *url.URL
	// Injected are the query parameters the catalog set.
	Injected []string
	Missing  []Missing
}

// URL joins base and path and sets the catalog's query parameters. The caller's own parameters keep their bytes, except
// that a parameter of the same name is replaced.
//
// In a base "A || B" the first side wins whose placeholders all have a value; an empty text, zero and false of
// connectionConfig count as none. If the caller's path repeats the base, as SDKs do with absolute URLs, it counts once.
//
// Errors are ErrNoBaseURL, *template.UnresolvedError, or wrap weburl.ErrInvalid.
func (r *Request) URL() (Target, error) {
	base, raw, err := r.base()
	if err != nil {
		return Target{}, err
	}
	path, err := r.path(base, raw)
	if err != nil {
		return Target{}, err
	}
	text := base
	if path != "" {
		text = strings.TrimSuffix(base, "/") + "/" + strings.TrimLeft(path, "/")
	}
	u, err := weburl.Parse(text)
	if err != nil {
		return Target{}, fmt.Errorf("build the URL: %w", err)
	}
	if err := checkHost(raw, u); err != nil {
		return Target{}, err
	}
	t := Target{URL: u}
	r.setQuery(&t)
	return t, nil
}

// base returns the base URL and the text it was made from.
func (r *Request) base() (base, raw string, err error) {
	if r.CatalogBase == nil && r.BaseURL != "" {
		base, missing := r.fillCallerText(r.BaseURL)
		if len(missing) > 0 {
			return "", "", &template.UnresolvedError{Name: missing[0], Place: "base_url_override"}
		}
		return base, r.BaseURL, nil
	}
	t, place := r.CatalogBase, "base_url_override"
	if t == nil {
		t, place = r.Proxy.BaseURL, "proxy.base_url"
	}
	if t == nil {
		return "", "", ErrNoBaseURL
	}
	if t.IsLiteral() {
		side := t.Sides()[0].String()
		return side, side, nil
	}
	scope := r.urlScope(true)
	for _, side := range t.Sides() {
		result := side.Eval(template.Object, scope)
		if len(result.Missing) == 0 && result.Text != "" {
			return result.Text, side.String(), nil
		}
		err = &template.UnresolvedError{Name: first(result.Missing), Place: place}
	}
	return "", "", err
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// path returns the path and query to append to the base.
func (r *Request) path(base, raw string) (string, error) {
	if r.CatalogPath != nil {
		result := r.CatalogPath.Eval(template.Wrapper, r.urlScope(true))
		if len(result.Missing) > 0 {
			return "", &template.UnresolvedError{Name: result.Missing[0], Place: "proxy.verification.endpoints"}
		}
		return result.Text, nil
	}
	path := r.Path
	trimmed := strings.TrimLeft(path, "/")
	for _, prefix := range []string{raw, base} {
		prefix = strings.TrimSuffix(prefix, "/")
		rest, ok := strings.CutPrefix(trimmed, prefix)
		if ok && prefix != "" && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0) {
			path = rest
			break
		}
	}
	filled, _ := r.fillCallerText(path)
	return filled, nil
}

// fillCallerText fills in a text that came from the caller: no credentials, and "||" means nothing. A placeholder without
// a value stays as written.
func (r *Request) fillCallerText(text string) (string, []string) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	scope := r.urlScope(false)
	parts := strings.Split(text, "||")
	var missing []string
	for i, part := range parts {
		result := template.Parse(part).Eval(template.Object, scope)
		parts[i] = result.Text
		missing = append(missing, result.Missing...)
	}
	return strings.Join(parts, "||"), missing
}

// urlScope is what a base URL and a path can see.
func (r *Request) urlScope(credentials bool) *template.Scope {
	c := r.Connection
	config := make(map[string]any, len(c.Config))
	for name, v := range c.Config {
		if v != "" && v != 0.0 && v != 0 && v != false {
			config[name] = v
		}
	}
	return r.scope(map[string]any{
		"connectionConfig": config, "metadata": c.Metadata, "tags": c.Tags,
		"connection_id": c.ID, "provider_config_key": c.ProviderConfigKey, "environment_id": c.EnvironmentID,
	}, credentials)
}

// checkHost refuses a value that moved the request to another host: when the host of the base ends in a literal, as in
// https://${connectionConfig.subdomain}.example.com, the host of the URL must end so too. A sub-domain "evil.test/" would
// otherwise turn the literal into a path.
func checkHost(raw string, u *url.URL) error {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil
	}
	authority, _, _ := strings.Cut(rest, "/")
	end := strings.LastIndexByte(authority, '}')
	if end < 0 {
		return nil
	}
	tail, _, _ := strings.Cut(strings.ToLower(authority[end+1:]), ":")
	if !strings.HasSuffix(u.Hostname(), tail) {
		return fmt.Errorf("proxy.base_url: %w: a value in it leads to another host", weburl.ErrInvalid)
	}
	return nil
}

// setQuery sets the catalog's query parameters.
func (r *Request) setQuery(t *Target) {
	if len(r.Proxy.Query) == 0 {
		return
	}
	extra := map[string]any{}
	if token, ok := r.Connection.accessToken(); ok {
		extra["accessToken"] = token
	}
	scope := r.scope(extra, true)
	for _, p := range r.Proxy.Query {
		result := p.Value.Eval(template.Wrapper, scope)
		if len(result.Missing) > 0 {
			t.Missing = append(t.Missing, Missing{Place: "proxy.query." + p.Name, Names: result.Missing})
			continue
		}
		t.URL.RawQuery = setParameter(t.URL.RawQuery, p.Name, result.Text)
		t.URL.ForceQuery = false
		t.Injected = append(t.Injected, p.Name)
	}
}

// setParameter replaces the first parameter called name, removes others of that name, or appends one. Everything else
// keeps its bytes: signatures and unusual escapes survive.
func setParameter(query, name, value string) string {
	pair := url.QueryEscape(name) + "=" + url.QueryEscape(value)
	var out []string
	set := false
	for part := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(key); part == "" || err != nil || decoded != name {
			if part != "" {
				out = append(out, part)
			}
			continue
		}
		if !set {
			out, set = append(out, pair), true
		}
	}
	if !set {
		out = append(out, pair)
	}
	return strings.Join(out, "&")
}
