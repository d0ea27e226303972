package sandbox

import (
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
)

// Scopes of Acme's API. API keys and Basic users have all of them. offline_access is accepted because many clients ask for
// it; consents always come with a refresh token.
const (
	scopeContactsRead  = "contacts.read"
	scopeContactsWrite = "contacts.write"
	scopeDealsRead     = "deals.read"
	scopeOffline       = "offline_access"
)

func allScopes() []string {
	return []string{scopeContactsRead, scopeContactsWrite, scopeDealsRead}
}

// grantedScopes splits a scope parameter; empty asks for all. The second result is the first unknown scope.
func grantedScopes(param string) (scopes []string, unknown string) {
	for scope := range strings.FieldsSeq(param) {
		if scope != scopeOffline && !slices.Contains(allScopes(), scope) {
			return nil, scope
		}
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	if len(scopes) == 0 {
		scopes = allScopes()
	}
	return scopes, ""
}

// An S256 challenge is 32 bytes in unpadded base64url (RFC 7636 §4.2).
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// authorize is the authorisation endpoint: GET shows the consent page, or skips it with auto=approve or auto=deny; the
// page posts to the same address. A bad client or redirect_uri is shown and never redirected (RFC 6749 §4.1.2.1); every
// other error goes to the redirect_uri.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, known := s.clients[q.Get("client_id")]
	if !known {
		showRefusal(w, "No application with this client_id is registered.")
		return
	}
	target, ok := client.redirectURI(q.Get("redirect_uri"))
	if !ok {
		showRefusal(w, "The redirect_uri is not registered for "+client.ID+".")
		return
	}
	back := func(params url.Values) {
		if state, given := q["state"]; given {
			params.Set("state", state[0])
		}
		goBack(w, r, target, params)
	}
	reject := func(code, description string) {
		back(url.Values{"error": {code}, "error_description": {description}})
	}
	for name, values := range q {
		if len(values) > 1 { // RFC 6749 §3.1
			reject("invalid_request", "parameter "+name+" is repeated")
			return
		}
	}
	challenge, method := q.Get("code_challenge"), q.Get("code_challenge_method")
	scopes, unknown := grantedScopes(q.Get("scope"))
	switch {
	case q.Get("response_type") != "code":
		reject("unsupported_response_type", "only response_type=code is supported")
		return
	case challenge == "" && (method != "" || client.Secret.IsEmpty()):
		reject("invalid_request", "code_challenge is required")
		return
	case challenge != "" && method != "S256":
		reject("invalid_request", "code_challenge_method must be S256")
		return
	case challenge != "" && !challengeForm.MatchString(challenge):
		reject("invalid_request", "code_challenge is no S256 challenge")
		return
	case unknown != "":
		reject("invalid_scope", "unknown scope "+unknown)
		return
	}
	decision := q.Get("auto")
	if r.Method == http.MethodPost {
		if err := s.crossOrigin.Check(r); err != nil {
			showRefusal(w, "The consent was sent from another site.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		decision = r.PostFormValue("decision")
	}
	switch decision {
	case "approve":
		var code string
		err := s.update(func() bool {
			code = s.grants.Approve(grant.Consent{Client: client.ID, RedirectURI: q.Get("redirect_uri"), Scopes: scopes, Challenge: challenge}, s.now())
			return true
		})
		if err != nil {
			s.broken(w, r, err)
			return
		}
		back(url.Values{"code": {code}})
	case "deny":
		reject("access_denied", "the user denied the request")
	default:
		showConsent(w, client.ID, scopes)
	}
}

// goBack redirects to target with the parameters added to those it has.
func goBack(w http.ResponseWriter, r *http.Request, target string, params url.Values) {
	u, err := url.Parse(target)
	if err != nil { // a registered URI that does not parse
		showRefusal(w, "The registered redirect_uri is no URL.")
		return
	}
	q := u.Query()
	maps.Copy(q, params)
	u.RawQuery = q.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, u.String(), http.StatusSeeOther) //nolint:gosec // an authorisation endpoint redirects, to addresses that are registered
}

var pages = template.Must(template.New("layout").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} · Acme CRM</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 100vh; margin: 0; background: Canvas; color: CanvasText; }
main { max-width: 24rem; padding: 2rem; border: 1px solid GrayText; border-radius: .75rem; }
h1 { font-size: 1.25rem; margin-top: 0; }
form { display: flex; gap: .75rem; margin-top: 1.5rem; }
button { font: inherit; padding: .5rem 1.25rem; border-radius: .5rem; border: 1px solid GrayText; cursor: pointer; }
button[value=approve] { background: #14532d; border-color: #14532d; color: #fff; }
small { color: GrayText; }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{if .Refusal}}<p>{{.Refusal}}</p>
{{else}}<p><strong>{{.Client}}</strong> asks for access to the Acme CRM account <strong>{{.Account}}</strong>:</p>
<ul>
{{range .Scopes}}<li><code>{{.}}</code></li>
{{end}}</ul>
<form method="post">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>
{{end}}<p><small>Acme CRM is a sandbox that comes with Patchbay. All people in it are made up.</small></p>
</main>
</body>
</html>
`))

type pageData struct {
	Title, Client, Account, Refusal string
	Scopes                          []string
}

func showConsent(w http.ResponseWriter, client string, scopes []string) {
	showPage(w, http.StatusOK, pageData{Title: "Allow access?", Client: client, Account: accountName, Scopes: scopes})
}

func showRefusal(w http.ResponseWriter, why string) {
	showPage(w, http.StatusBadRequest, pageData{Title: "This link does not work", Refusal: why})
}

// showPage forbids framing and scripts. It sets no form-action: browsers apply that to the redirect after the form too.
func showPage(w http.ResponseWriter, status int, data pageData) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = pages.Execute(w, data)
}
