package proxyrequest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// HeaderSet is the headers of a request.
type HeaderSet struct {
	Header http.Header
	// Injected are the canonical names of headers that may hold a credential of the connection.
	Injected []string
	Missing  []Missing
}

// ValueError says that a header can't be sent because a value in it holds a line break or another control character.
type ValueError struct{ Header string }

func (e *ValueError) Error() string {
	return fmt.Sprintf("the header %s would hold a control character", e.Header)
}

// Headers puts together the headers for the URL that URL built: the authorization header of the mode, then the catalog's,
// then the caller's, the later ones winning. Only a user-agent of the catalog wins over the caller's. The error is a
// *ValueError.
func (r *Request) Headers(u *url.URL) (HeaderSet, error) {
	set := HeaderSet{Header: http.Header{}}
	if value := r.modeHeader(); value != "" {
		if err := set.put("Authorization", value, true); err != nil {
			return HeaderSet{}, err
		}
	}
	var facts map[string]any
	if slices.ContainsFunc(r.Proxy.Headers, readsRequest) || slices.ContainsFunc(r.CatalogHeaders, readsRequest) {
		facts = r.facts(u)
	}
	userAgent := false
	for _, p := range r.Proxy.Headers {
		sent, err := r.place(&set, "proxy.headers.", p, facts)
		if err != nil {
			return HeaderSet{}, err
		}
		userAgent = userAgent || sent && p.Name == "user-agent"
	}
	for name, values := range r.Header {
		name = http.CanonicalHeaderKey(name)
		if name == "User-Agent" && userAgent {
			continue
		}
		set.Header[name] = slices.Clone(values)
		set.Injected = slices.DeleteFunc(set.Injected, func(s string) bool { return s == name })
	}
	for _, p := range r.CatalogHeaders {
		if _, err := r.place(&set, "headers.", p, facts); err != nil {
			return HeaderSet{}, err
		}
	}
	return set, nil
}

func readsRequest(p provider.Placement) bool { return p.ReadsRequest }

// place sends one header of the catalog, unless it mentions connectionConfig and lacks a value or comes out empty.
func (r *Request) place(set *HeaderSet, place string, p provider.Placement, facts map[string]any) (sent bool, err error) {
	if p.Value.IsLiteral() {
		return true, set.put(p.Name, p.Value.String(), false)
	}
	result := p.Value.Eval(template.Wrapper, r.headerScope(p, facts))
	if len(result.Missing) > 0 {
		set.Missing = append(set.Missing, Missing{Place: place + p.Name, Names: result.Missing})
	}
	if p.MentionsConfig && (len(result.Missing) > 0 || result.Text == "") {
		return false, nil
	}
	return true, set.put(p.Name, result.Text, true)
}

// put sets a header. White space at the ends goes: keys are often pasted with a line break, and HTTP has no such values.
func (s *HeaderSet) put(name, value string, injected bool) error {
	value = strings.Trim(value, " \t\r\n")
	if !httpguts.ValidHeaderFieldValue(value) {
		return &ValueError{Header: name}
	}
	s.Header.Set(name, value)
	if name = http.CanonicalHeaderKey(name); injected && !slices.Contains(s.Injected, name) {
		s.Injected = append(s.Injected, name)
	}
	return nil
}

// headerScope is what a header template can see; internal/provider checks the catalog by the same table.
func (r *Request) headerScope(p provider.Placement, facts map[string]any) *template.Scope {
	c := r.Connection
	frozen := &template.Scope{Now: r.Now, Random: r.Random}
	token, hasToken := c.accessToken()
	switch {
	case p.MentionsConfig:
		return r.scope(facts, true)
	case c.Mode == provider.OAuth2 || c.Mode == provider.MCPOAuth2 || c.Mode == provider.MCPOAuth2Generic:
		frozen.Layers = []map[string]any{{"accessToken": token, "clientId": c.ClientID, "clientSecret": c.ClientSecret}}
	case c.Mode == provider.JWT || c.Mode == provider.OAuth2CC || c.Mode == provider.Signature:
		frozen.Layers = []map[string]any{{"accessToken": token}}
	case c.Mode == provider.TwoStep:
		names := map[string]any{"credentials": c.Credentials}
		if hasToken {
			names["accessToken"] = token
		}
		for name, v := range facts {
			if name != "method" {
				names[name] = v
			}
		}
		frozen.Layers = []map[string]any{names}
	default:
		frozen.Layers = []map[string]any{facts, {"credentials": c.Credentials}, c.Credentials}
	}
	return frozen
}

// modeHeader is the authorization header that the mode alone decides; "" when there is none.
func (r *Request) modeHeader() string {
	c := r.Connection
	switch c.Mode {
	case provider.OAuth2, provider.MCPOAuth2, provider.MCPOAuth2Generic, provider.App:
		return bearer(c.field("access_token"))
	case provider.OAuth2CC, provider.JWT, provider.Signature:
		return bearer(c.field("token"))
	case provider.TwoStep:
		if slices.ContainsFunc(r.Proxy.Headers, placesToken) {
			return ""
		}
		return bearer(c.field("token"))
	case provider.Basic, provider.InstallPlugin:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.field("username")+":"+c.field("password")))
	case provider.OAuth1, provider.TBA:
		return r.Authorization
	default:
		return ""
	}
}

// placesToken reports whether a header of a two-step provider already carries the token, or the session's cookies.
func placesToken(p provider.Placement) bool {
	text := p.Value.String()
	return strings.Contains(text, "${accessToken}") || p.Name == "cookie" && strings.Contains(text, "${credentials._cookies}")
}

func bearer(token string) string {
	if token == "" {
		return ""
	}
	return "Bearer " + token
}
