package provider

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// A place is where a template stands: how it is read there and which names it can see.
type place struct {
	dialect template.Dialect
	// url demands https.
	url bool
	// body allows braces that are no placeholder, as in a GraphQL query, unless they look like a forgotten "$".
	body bool
	// roots are the first parts of the names that exist there. connectionConfig and integrationConfig exist everywhere;
	// "*" stands for credentials.*, and for the credential fields by bare name; "step" for the answers of earlier steps.
	roots []string
}

var (
	oauthURL   = place{url: true, roots: []string{"*"}}
	oauthParam = place{}
	stepValue  = place{roots: []string{"*", "now", "random", "step"}}
	localToken = place{dialect: template.Flat, roots: []string{"*", "now", "random"}}
	assertion  = place{dialect: template.Flat, roots: []string{"*", "now", "random", "assertionOption"}}
	baseURLs   = place{
		dialect: template.Wrapper, url: true,
		roots: []string{"*", "metadata", "tags", "connection_id", "provider_config_key", "environment_id"},
	}
	apiPath  = place{dialect: template.Wrapper, roots: baseURLs.roots}
	apiQuery = place{dialect: template.Wrapper, roots: []string{"*", "accessToken", "now", "random"}}
	apiBody  = place{dialect: template.Wrapper, roots: []string{"*", "now", "random"}}
)

// headerPlace tells what a header template can see; proxyrequest fills exactly these names. The rule is the wire
// contract's and depends on the mode and on whether the template mentions connectionConfig.
func headerPlace(mode AuthMode, t *template.Template) place {
	roots := append([]string{"now", "random"}, requestNames...)
	switch {
	case mentionsConfig(t):
		roots = append(roots, "*")
	case mode == OAuth2 || mode == MCPOAuth2 || mode == MCPOAuth2Generic:
		roots = []string{"now", "random", "accessToken", "clientId", "clientSecret"}
	case mode == JWT || mode == OAuth2CC || mode == Signature:
		roots = []string{"now", "random", "accessToken"}
	case mode == TwoStep:
		roots = slices.DeleteFunc(append(roots, "accessToken", "credentials"), func(name string) bool { return name == "method" })
	default:
		roots = append(roots, "*")
	}
	return place{dialect: template.Wrapper, roots: roots}
}

// templates checks every template of the entry.
func (c *checker) templates() {
	p := c.p
	c.template("authorization_url", p.AuthorizationURL, oauthURL)
	c.template("refresh_url", p.RefreshURL, oauthURL)
	if p.TokenURLs.only != nil {
		c.template("token_url", p.TokenURLs.only, oauthURL)
	}
	for mode, t := range p.TokenURLs.byMode {
		c.template(join("token_url", string(mode)), t, oauthURL)
	}
	param := oauthParam
	if p.AuthMode == TwoStep || p.AuthMode == Bill {
		param = stepValue
	}
	c.tree("authorization_params", p.AuthorizationParams, oauthParam)
	c.tree("token_params", p.TokenParams, param)
	c.tree("token_headers", p.TokenHeaders, stepValue)
	c.tree("refresh_params", p.RefreshParams, param)
	c.tree("refresh_token_params", p.RefreshTokenParams, stepValue)
	c.tree("refresh_token_headers", p.RefreshTokenHeaders, stepValue)
	if p.Token != nil {
		c.template("token/signing_key", p.Token.SigningKey, localToken)
		c.tree("token/header", p.Token.Header, localToken)
		c.tree("token/payload", p.Token.Payload, localToken)
	}
	if p.Assertion != nil {
		c.template("assertion/key", p.Assertion.Key, assertion)
		c.tree("assertion/header", p.Assertion.Header, assertion)
		c.tree("assertion/payload", p.Assertion.Payload, assertion)
	}
	for i, step := range p.AdditionalSteps {
		at := join("additional_steps", strconv.Itoa(i))
		url := stepValue
		url.url = true
		c.template(join(at, "token_url"), step.URL, url)
		c.tree(join(at, "token_params"), step.Params, stepValue)
		c.tree(join(at, "token_headers"), step.Headers, stepValue)
	}
	c.proxyTemplates()
	for i, follow := range p.PostConnection {
		at := join("post_connection", strconv.Itoa(i))
		c.template(join(at, "url"), follow.URL, baseURLs)
		c.headers(join(at, "headers"), follow.Headers)
		c.tree(join(at, "body"), follow.Body, apiBody)
	}
}

func (c *checker) proxyTemplates() {
	proxy := c.p.Proxy
	c.template("proxy/base_url", proxy.BaseURL, baseURLs)
	c.headers("proxy/headers", proxy.Headers)
	for _, q := range proxy.Query {
		c.template(join("proxy/query", q.Name), q.Value, apiQuery)
	}
	c.tree("proxy/body", proxy.Body, apiBody)
	if v := proxy.Verification; v != nil {
		c.template("proxy/verification/base_url_override", v.BaseURLOverride, baseURLs)
		for i, t := range v.Endpoints {
			c.template(join("proxy/verification/endpoints", strconv.Itoa(i)), t, apiPath)
		}
		c.headers("proxy/verification/headers", v.Headers)
		c.tree("proxy/verification/data", v.Data, apiBody)
	}
}

func (c *checker) headers(pointer string, headers Placements) {
	for _, h := range headers {
		c.template(join(pointer, h.Name), h.Value, headerPlace(c.p.AuthMode, h.Value))
	}
}

func (c *checker) tree(pointer string, tree template.Tree, at place) {
	at.body = true
	tree.Walk(func(path string, leaf *template.Template) {
		c.template(join(pointer, strings.ReplaceAll(path, ".", "/")), leaf, at)
	})
}

var (
	loneBrace       = regexp.MustCompile(`(^|[^$])\{`)
	forgottenDollar = regexp.MustCompile(`(^|[^$])\{[A-Za-z_][\w.]*\}`)
	stepName        = regexp.MustCompile(`^step[1-9][0-9]*$`)
)

func (c *checker) template(pointer string, t *template.Template, at place) {
	if t == nil {
		return
	}
	text := t.String()
	lone := loneBrace
	if at.body {
		lone = forgottenDollar
	}
	if lone.MatchString(text) {
		c.faultf(pointer, "%s holds a { without a $ before it; a placeholder is written ${name}", dotted(pointer))
	}
	for _, stray := range t.Stray(at.dialect) {
		c.faultf(pointer, "%s: %q is no placeholder: it is not closed, or the function does not exist or has other arguments",
			dotted(pointer), stray)
	}
	for _, name := range t.Names(at.dialect) {
		c.name(pointer, name, at)
	}
	if !at.url {
		return
	}
	for side := range strings.SplitSeq(text, "||") {
		if side = strings.TrimSpace(side); !strings.HasPrefix(side, "https://") && !strings.HasPrefix(side, "${") {
			c.faultf(pointer, "%s must begin with https:// or with a placeholder", dotted(pointer))
		}
	}
}

// implied are connectionConfig names that the install flow of APP and CUSTOM fills.
var implied = []string{"appPublicLink", "installation_id", "app_id"}

// name checks that a placeholder names something that exists in its place.
func (c *checker) name(pointer, name string, at place) {
	root, rest, _ := strings.Cut(name, ".")
	fail := func(reason string) { c.faultf(pointer, "%s: ${%s} %s", dotted(pointer), name, reason) }
	switch {
	case root == "connectionConfig":
		c.used[rest] = true
		if !c.declares(rest) {
			fail("is declared nowhere: add it to connection_config, token_response_metadata, redirect_uri_metadata or post_connection")
		}
	case root == "integrationConfig":
		if _, ok := c.p.IntegrationConfig[rest]; !ok {
			fail("is not declared in integration_config")
		}
	case root == "assertionOption" && slices.Contains(at.roots, root):
		if _, ok := c.p.AssertionOption[rest]; !ok {
			fail("is not declared in assertion_option")
		}
	case root == "credentials" && (slices.Contains(at.roots, "*") || slices.Contains(at.roots, root)):
		if !slices.Contains(c.credentialNames(), first(rest)) {
			fail("is no credential of this provider")
		}
	case slices.Contains(at.roots, "*") && slices.Contains(c.credentialNames(), root):
	case at.url && at.dialect == template.Object && c.declares(name):
		// OAuth URLs may leave the prefix out.
		c.used[name] = true
	case stepName.MatchString(root) && slices.Contains(at.roots, "step"):
	case slices.Contains(at.roots, root) && root != "*" && root != "step":
	default:
		fail("means nothing here")
	}
}

func (c *checker) declares(name string) bool {
	if _, ok := c.p.ConnectionConfig[name]; ok {
		return true
	}
	for _, follow := range c.p.PostConnection {
		if _, ok := follow.Save[name]; ok {
			return true
		}
	}
	return slices.Contains(c.p.TokenResponseMetadata, name) || slices.Contains(c.p.RedirectURIMetadata, name) ||
		slices.Contains(c.p.WebhookResponseMetadata, name) || c.p.installs() && slices.Contains(implied, name)
}

// credentialNames are the fields a connection of this provider keeps.
func (c *checker) credentialNames() []string {
	names := slices.Collect(maps.Keys(c.p.Credentials))
	names = append(names, c.p.TokenResponseHeaders...)
	return append(names, modes[c.p.AuthMode].stored...)
}

func first(path string) string {
	head, _, _ := strings.Cut(path, ".")
	return head
}
