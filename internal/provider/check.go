package provider

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// A checker collects what the schema can't say about a merged entry.
type checker struct {
	e        *entry
	p        *Provider
	problems Problems
	used     map[string]bool // connection_config names that some template reads
}

func (e *entry) check(p *Provider) Problems {
	c := &checker{e: e, p: p, used: map[string]bool{}}
	c.mode()
	c.fields()
	c.proxy()
	c.templates()
	c.declared()
	return c.problems
}

func (c *checker) faultf(pointer, format string, args ...any) {
	file, line := c.e.position(pointer)
	c.problems = append(c.problems, Problem{File: file, Line: line, Message: fmt.Sprintf(format, args...)})
}

// mode checks that the entry has what its auth mode reads, and nothing that it does not.
func (c *checker) mode() {
	facts := modes[c.p.AuthMode]
	for _, key := range facts.needs {
		if _, ok := c.e.merged[key]; !ok {
			c.faultf("auth_mode", "%s needs the key %s", c.p.AuthMode, key)
		}
	}
	if len(c.p.Credentials) > 0 && !facts.asks {
		c.faultf("credentials", "%s does not ask for credentials", c.p.AuthMode)
	}
	needed := map[AuthMode]string{APIKey: "apiKey", AWSSigV4: "role_arn"}[c.p.AuthMode]
	if _, ok := c.p.Credentials[needed]; needed != "" && len(c.p.Credentials) > 0 && !ok {
		c.faultf("credentials", "%s needs the credential %s", c.p.AuthMode, needed)
	}
	if c.p.Proxy.BaseURL == nil && c.p.AuthMode != None && c.p.AuthMode != MCPOAuth2Generic {
		c.faultf("proxy", "%s needs proxy.base_url", c.p.AuthMode)
	}
	if c.p.AuthMode == MCPOAuth2 && c.p.ClientRegistration == "dynamic" && c.p.RegistrationURL == "" {
		c.faultf("client_registration", "dynamic registration needs registration_url")
	}
	if url := c.p.AuthorizationURL.String(); strings.Contains(url, "scope=") {
		c.faultf("authorization_url", "scopes belong to default_scopes, not into the URL")
	}
}

// fields checks the forms.
func (c *checker) fields() {
	for key, fields := range map[string]Fields{
		"connection_config": c.p.ConnectionConfig, "credentials": c.p.Credentials,
		"integration_config": c.p.IntegrationConfig, "assertion_option": c.p.AssertionOption,
	} {
		for name, f := range fields {
			at := join(key, name)
			if fault := f.Check(f.Default); f.Default != "" && fault != "" {
				c.faultf(join(at, "default_value"), "the default of %s %s", name, fault)
			}
			if fault := f.Check(f.Example); f.Example != "" && fault != "" {
				c.faultf(join(at, "example"), "the example of %s %s", name, fault)
			}
			for value := range f.Warnings {
				if len(f.Enum) > 0 && !slices.Contains(f.Enum, value) {
					c.faultf(join(at, "warnings"), "%s has a warning for %q, which is no value of it", name, value)
				}
			}
			c.visibleWhen(key, name, fields)
		}
	}
}

func (c *checker) visibleWhen(key, name string, fields Fields) {
	at := join(join(key, name), "visible_when")
	seen := map[string]bool{}
	for field := name; fields[field].VisibleWhen != nil; {
		if seen[field] {
			c.faultf(at, "visible_when of %s leads back to it", name)
			return
		}
		seen[field] = true
		field = fields[field].VisibleWhen.Field
		if _, ok := fields[field]; !ok {
			c.faultf(at, "visible_when of %s names %s, which is no field", name, field)
			return
		}
	}
	if key != "integration_config" && fields[name].VisibleWhen != nil {
		c.faultf(at, "visible_when is only for integration_config")
	}
}

// proxy checks what the parts of proxy say about each other.
func (c *checker) proxy() {
	p := c.p.Proxy
	if b := p.Retry.InBody; b != nil && b.Value.NumSubexp() != 1 {
		c.faultf("proxy/retry/in_body/value", "proxy.retry.in_body.value needs exactly one group")
	}
	if c.p.AuthMode == APIKey && len(c.p.IntegrationConfig) == 0 && !c.placesKey() {
		c.faultf("proxy", "API_KEY: no header, query, body or base URL of the proxy holds ${apiKey}")
	}
	if p.Paginate == nil {
		return
	}
	document, _ := c.e.merged["proxy"].(map[string]any)
	given, _ := document["paginate"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		owner, _, found := strings.Cut(name, "_")
		if found && owner != p.Paginate.Type && slices.Contains([]string{"cursor", "link", "offset"}, owner) {
			c.faultf(join("proxy/paginate", name), "proxy.paginate.%s means nothing for the type %s", name, p.Paginate.Type)
		}
	}
	switch p := p.Paginate; {
	case p.Type == "cursor" && (p.CursorNameInRequest == "" || p.CursorPathInResponse == ""):
		c.faultf("proxy/paginate", "cursor pagination needs cursor_name_in_request and cursor_path_in_response")
	case p.Type == "link" && p.LinkRelInResponseHeader == "" && p.LinkPathInResponseBody == "":
		c.faultf("proxy/paginate", "link pagination needs link_rel_in_response_header or link_path_in_response_body")
	case p.Type == "offset" && p.OffsetNameInRequest == "":
		c.faultf("proxy/paginate", "offset pagination needs offset_name_in_request")
	}
}

func (c *checker) placesKey() bool {
	found := false
	look := func(t *template.Template) {
		names := t.Names(template.Wrapper)
		found = found || slices.Contains(names, "apiKey") || slices.Contains(names, "credentials.apiKey")
	}
	look(c.p.Proxy.BaseURL)
	for _, list := range []Placements{c.p.Proxy.Headers, c.p.Proxy.Query} {
		for _, one := range list {
			look(one.Value)
		}
	}
	c.p.Proxy.Body.Walk(func(_ string, leaf *template.Template) { look(leaf) })
	return found
}

// declared reports connection_config fields that nothing reads. An alias may leave out what used them, fields the server
// fills are for others to read, and two modes read theirs in code.
func (c *checker) declared() {
	if c.e.doc.values["alias"] != nil || c.p.AuthMode == MCPOAuth2Generic || c.p.AuthMode == AWSSigV4 || c.p.AuthMode == TBA {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.ConnectionConfig)) {
		if !c.used[name] && !c.p.ConnectionConfig[name].Automated {
			at := join("connection_config", name)
			c.faultf(at, "%s is never used; no template holds ${connectionConfig.%s}", dotted(at), name)
		}
	}
}
