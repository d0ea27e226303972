package provider

import (
	"net/url"
	"slices"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// skipBaseURL in a skip_encode list leaves the values in the URL as they are.
const skipBaseURL = "base_url"

// ExpandAuthorizationURL fills in the page the end user is sent to. A query in the catalog entry is kept. Errors are
// *template.UnresolvedError or wrap weburl.ErrInvalid.
func (p *Provider) ExpandAuthorizationURL(values template.URLValues) (*url.URL, error) {
	values.Raw = values.Raw || p.installs() || slices.Contains(p.AuthorizationURLSkipEncode, skipBaseURL)
	return template.URL(p.AuthorizationURL, "authorization_url", values)
}

// ExpandTokenURL fills in the token endpoint for mode.
func (p *Provider) ExpandTokenURL(mode AuthMode, values template.URLValues) (*url.URL, error) {
	values.Raw = values.Raw || mode == App || slices.Contains(p.TokenURLSkipEncode, skipBaseURL)
	return template.URL(p.TokenURLs.For(mode), "token_url", values)
}

// ExpandRefreshURL fills in the endpoint that takes refresh tokens: refresh_url, or else the token endpoint.
func (p *Provider) ExpandRefreshURL(mode AuthMode, values template.URLValues) (*url.URL, error) {
	if p.RefreshURL == nil {
		return p.ExpandTokenURL(mode, values)
	}
	values.Raw = values.Raw || slices.Contains(p.TokenURLSkipEncode, skipBaseURL)
	return template.URL(p.RefreshURL, "refresh_url", values)
}

// installs reports whether the end user installs an app; the link to its page comes whole from the integration.
func (p *Provider) installs() bool { return p.AuthMode == App || p.AuthMode == Custom }
