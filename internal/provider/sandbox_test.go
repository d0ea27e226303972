package provider_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

// The acme-crm entry claims to be verified live; this is the proof: a code flow, the verification call and a second page,
// all with what the entry says.
func TestTheSandboxEntryWorksAgainstTheSandbox(t *testing.T) {
	t.Parallel()
	acme, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(acme)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	p := get(t, "acme-crm")
	config, issues := p.ConnectionConfig.Apply(map[string]any{"baseUrl": server.URL})
	if issues != nil {
		t.Fatal(issues)
	}
	values := template.URLValues{ConnectionConfig: config}
	authorize, err := p.ExpandAuthorizationURL(values)
	if err != nil {
		t.Fatal(err)
	}
	const callback = "http://localhost/callback"
	authorize.RawQuery = url.Values{
		"response_type": {"code"}, "client_id": {"acme-client"}, "redirect_uri": {callback}, "state": {"s"}, "auto": {"approve"},
		"scope": {strings.Join(p.DefaultScopes, p.ScopeSeparator)},
	}.Encode()
	page := do(t, client, http.MethodGet, authorize, nil, "")
	location, err := url.Parse(page.Header.Get("Location"))
	if err != nil || location.Query().Get("code") == "" {
		t.Fatalf("no code: %d, %s, %v", page.StatusCode, location, err)
	}

	tokenURL, err := p.ExpandTokenURL(p.AuthMode, values)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {location.Query().Get("code")}, "redirect_uri": {callback},
		"client_id": {"acme-client"}, "client_secret": {"acme-secret"},
	}
	credentials := answer(t, do(t, client, http.MethodPost, tokenURL, nil, form.Encode()))

	connection := &proxyrequest.Connection{Mode: p.AuthMode, Credentials: credentials, Config: config}
	call := func(r proxyrequest.Request) *http.Response {
		t.Helper()
		r.Proxy, r.Connection, r.Method = &p.Proxy, connection, http.MethodGet
		target, err := r.URL()
		if err != nil {
			t.Fatal(err)
		}
		set, err := r.Headers(target.URL)
		if err != nil {
			t.Fatal(err)
		}
		return do(t, client, r.Method, target.URL, set.Header, "")
	}
	if got := call(proxyrequest.Request{CatalogPath: p.Proxy.Verification.Endpoints[0]}); got.StatusCode != http.StatusOK {
		t.Errorf("the verification call answers %d", got.StatusCode)
	}
	paging := p.Proxy.Paginate
	first := answer(t, call(proxyrequest.Request{Path: "/v1/contacts?" + paging.LimitNameInRequest + "=" + strconv.Itoa(2)}))
	cursor, _ := first[paging.CursorPathInResponse].(string)
	if list, _ := first[paging.ResponsePath].([]any); len(list) != 2 || cursor == "" {
		t.Fatalf("the first page holds %d contacts and the cursor %q", len(list), cursor)
	}
	second := answer(t, call(proxyrequest.Request{Path: "/v1/contacts?" + paging.CursorNameInRequest + "=" + url.QueryEscape(cursor)}))
	if list, _ := second[paging.ResponsePath].([]any); len(list) == 0 {
		t.Error("the second page is empty")
	}
}

func do(t *testing.T, client *http.Client, method string, u *url.URL, header http.Header, form string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, u.String(), strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func answer(t *testing.T, response *http.Response) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %v", response.StatusCode, v, err)
	}
	return v
}
