package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// scopedTenants takes a scope for a token: the key has just that one.
type scopedTenants struct {
	Tenants

	environment tenant.Environment
}

func (f scopedTenants) Authenticate(_ context.Context, token string) (tenant.Principal, error) {
	if token == "" || token == "unknown" {
		return tenant.Principal{}, errs.New(http.StatusUnauthorized, "unknown_user_account", "No")
	}
	return tenant.Principal{Environment: f.environment, Scopes: []string{token}}, nil
}

// functionServer is the routes of functions over a real service, with the integrations github and slack.
type functionServer struct {
	*Server

	functions *function.Service
}

func newFunctionServer(t *testing.T) *functionServer {
	t.Helper()
	catalog, err := provider.Load(fstest.MapFS{"acme.yaml": &fstest.MapFile{Data: []byte("display_name: Acme\ncategories: [other]\n" +
		"docs: https://docs.example\nsources: [{name: RFC 6749, licence: facts}]\nconfidence: from-vendor-spec\nauth_mode: NONE\n")}})
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, storetest.SQLite(t))
	v := storetest.Vault(t, s)
	tenants, account := storetest.Tenants(t, s, v)
	dev, err := tenants.EnvironmentByName(t.Context(), account.ID, "dev")
	if err != nil {
		t.Fatal(err)
	}
	integrations := integration.New(integration.Options{Store: s.Integrations(), Tx: s, Hints: s, Vault: v, Catalog: catalog})
	t.Cleanup(integrations.Close)
	for _, key := range []string{"github", "slack"} {
		if _, err := integrations.Create(t.Context(), integration.Integration{EnvironmentID: dev.ID, Key: key, Provider: "acme"}); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	functions := function.New(function.Options{Store: s.Functions(), Integrations: integrations, Now: func() time.Time { return now }})
	t.Cleanup(functions.Close)
	return &functionServer{New(Options{Tenants: scopedTenants{environment: dev}, Integrations: integrations, Functions: functions}), functions}
}

// ask sends a request with a key of one scope. header is "name: value" lines.
func (s *functionServer) ask(method, target, scope, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+scope)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// wantJSON compares an answer with JSON text, whatever its order and space.
func wantJSON(t *testing.T, w *httptest.ResponseRecorder, status int, want string) {
	t.Helper()
	var got, wanted any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if diff := cmp.Diff(wanted, got); w.Code != status || diff != "" {
		t.Errorf("%d, want %d: %s", w.Code, status, diff)
	}
}

const fullDeploy = `{"flowConfigs":[
 {"syncName":"issues","providerConfigKey":"github","type":"sync","models":["Issue"],"version":"1.0.0","runs":"every hour",
  "track_deletes":false,"auto_start":true,"attributes":{"dropped":1},"metadata":{"description":"Syncs\n- title: of the issue","scopes":["repo"]},
  "input":"SyncMetadata_github_issues","sync_type":"full","endpoints":[{"method":"GET","path":"/issues","group":"Issues"}],
  "webhookSubscriptions":["push"],"features":["checkpoints"],"fileBody":{"js":"js1","ts":"ts1"},
  "models_json_schema":{"definitions":{"Issue":{"type":"object"},"SyncMetadata_github_issues":{"type":"null"}},"dropped":1}},
 {"syncName":"create-issue","providerConfigKey":"github","type":"action","models":["ActionOutput_github_createissue"],"version":"",
  "runs":null,"track_deletes":false,"metadata":{"description":"Creates\n- title: of the issue","scopes":[]},"input":"ActionInput_github_createissue",
  "endpoints":[{"POST":"/issues"}],"features":[],"fileBody":{"js":"js2","ts":"ts2"},
  "models_json_schema":{"definitions":{"ActionInput_github_createissue":{"type":"object","properties":{"title":{"type":"string"}},"required":["title"]},
   "ActionOutput_github_createissue":{}}}},
 {"syncName":"issues","providerConfigKey":"slack","type":"action","models":[],"runs":"","fileBody":{"js":"js3","ts":"ts3"}}],
"onEventScriptsByProvider":[{"providerConfigKey":"github","scripts":[{"name":"issues","event":"pre-connection-deletion","fileBody":{"js":"js4","ts":"ts4"}}]},
 {"providerConfigKey":"absent","scripts":[{"name":"e","event":"validate-connection","fileBody":{"js":"j","ts":"t"}}]}],
"deployMode":"all","debug":false,"sdkVersion":"0.71.10-zero"`

const (
	deployScope  = "environment:deploy"
	confirmation = "/sync/deploy/confirmation"
)

func (s *functionServer) deployAll(t *testing.T) {
	t.Helper()
	if w := s.ask("POST", "/sync/deploy", deployScope, fullDeploy+`,"reconcile":true,"nangoYamlBody":"","source":"repo"}`); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

func TestFunctionsOfAnIntegrationAreListedAndRead(t *testing.T) {
	t.Parallel()
	s := newFunctionServer(t)
	s.deployAll(t)
	event := `{"name":"issues","type":"on-event","event":"pre-connection-deletion","id":4,"enabled":true,"last_deployed":"2026-03-01T12:00:00.000Z","source":"repo"}`
	action := `{"name":"create-issue","type":"action","description":"Creates\n- title: of the issue","input":"ActionInput_github_createissue",
		"returns":["ActionOutput_github_createissue"],"json_schema":{"definitions":{
		"ActionInput_github_createissue":{"type":"object","properties":{"title":{"type":"string"}},"required":["title"]},"ActionOutput_github_createissue":{}}},
		"id":2,"enabled":true,"last_deployed":"2026-03-01T12:00:00.000Z","source":"repo"}`
	sync := `{"name":"issues","type":"sync","description":"Syncs\n- title: of the issue","scopes":["repo"],"input":"SyncMetadata_github_issues","returns":["Issue"],
		"json_schema":{"definitions":{"Issue":{"type":"object"},"SyncMetadata_github_issues":{"type":"null"}}},
		"runs":"every hour","auto_start":true,"track_deletes":false,"id":1,"enabled":true,"last_deployed":"2026-03-01T12:00:00.000Z","source":"repo"}`
	list := func(total, page, limit int, items ...string) string {
		return fmt.Sprintf(`{"data":[%s],"pagination":{"total":%d,"page":%d,"limit":%d}}`, strings.Join(items, ","), total, page, limit)
	}
	const scope = "environment:functions:list"
	for query, want := range map[string]string{
		"":                         list(3, 0, 20, action, event, sync),
		"?type=sync":               list(1, 0, 20, sync),
		"?search=%20CREATE%20":     list(1, 0, 20, action),
		"?limit=1&page=1":          list(3, 1, 1, event),
		"?limit=2&page=1":          list(3, 1, 2, sync),
		"?limit=100&page=99999999": list(3, 99999999, 100),
	} {
		wantJSON(t, s.ask("GET", "/integrations/github/functions"+query, scope, ""), http.StatusOK, want)
	}
	const read = "environment:functions:read"
	wantJSON(t, s.ask("GET", "/integrations/github/functions/issues?type=sync", read, ""), http.StatusOK, `{"data":`+sync+`}`)
	wantJSON(t, s.ask("GET", "/integrations/github/functions/issues", read, ""), http.StatusOK, `{"data":`+event+`}`) // the first one
	wantJSON(t, s.ask("GET", "/integrations/slack/functions/issues", read, ""), http.StatusOK, `{"data":{"name":"issues","type":"action","returns":[],
		"json_schema":null,"id":3,"enabled":true,"last_deployed":"2026-03-01T12:00:00.000Z","source":"repo"}}`)
	wantJSON(t, s.ask("GET", "/integrations/github/functions/issues/code?type=sync", read, ""), http.StatusOK, `{"type":"sync","code":"ts1"}`)
	wantJSON(t, s.ask("GET", "/integrations/github/functions/create-issue/code", read, ""), http.StatusOK, `{"type":"action","code":"ts2"}`)
	wantJSON(t, s.ask("GET", "/integrations/github/functions/issues/code", read, ""), http.StatusConflict, `{"error":{"code":"ambiguous_function",
		"message":"Several functions have this name: say which with ?type=","payload":{"matches":[{"type":"on-event","name":"issues"},{"type":"sync","name":"issues"}]}}}`)
}

func TestScriptsConfigListsSyncsAndActionsByIntegration(t *testing.T) {
	t.Parallel()
	s := newFunctionServer(t)
	const scope = "environment:integrations:list_functions"
	for _, format := range []string{"", "?format=openai", "?other=1"} {
		wantJSON(t, s.ask("GET", "/scripts/config"+format, scope, ""), http.StatusOK, `[]`)
	}
	s.deployAll(t)
	wantJSON(t, s.ask("GET", "/scripts/config", scope, ""), http.StatusOK, `[
	{"providerConfigKey":"github","provider":"acme","on-events":[],"syncs":[{"id":1,"name":"issues","type":"sync","returns":["Issue"],
	  "description":"Syncs\n- title: of the issue","attributes":{},"scopes":["repo"],"version":"1.0.0","source":"repo",
	  "endpoints":[{"method":"GET","path":"/issues","group":"Issues"}],"input":"SyncMetadata_github_issues","enabled":true,
	  "last_deployed":"2026-03-01T12:00:00.000Z","webhookSubscriptions":["push"],
	  "json_schema":{"definitions":{"Issue":{"type":"object"},"SyncMetadata_github_issues":{"type":"null"}}},"sdk_version":"0.71.10-zero",
	  "models":[{"name":"Issue","fields":[]},{"name":"SyncMetadata_github_issues","fields":[]}],"features":["checkpoints"],
	  "sync_type":"full","auto_start":true,"runs":"every hour","track_deletes":false}],
	 "actions":[{"id":2,"name":"create-issue","type":"action","returns":["ActionOutput_github_createissue"],"description":"Creates\n- title: of the issue",
	  "attributes":{},"scopes":[],"version":"1","source":"repo","endpoints":[{"method":"POST","path":"/issues","group":null}],
	  "input":"ActionInput_github_createissue","enabled":true,"last_deployed":"2026-03-01T12:00:00.000Z","webhookSubscriptions":[],
	  "json_schema":{"definitions":{"ActionInput_github_createissue":{"type":"object","properties":{"title":{"type":"string"}},"required":["title"]},
	  "ActionOutput_github_createissue":{}}},"sdk_version":"0.71.10-zero",
	  "models":[{"name":"ActionInput_github_createissue","fields":[]},{"name":"ActionOutput_github_createissue","fields":[]}],"features":[]}]},
	{"providerConfigKey":"slack","provider":"acme","on-events":[],"syncs":[],"actions":[{"id":3,"name":"issues","type":"action","returns":[],"description":"",
	  "attributes":{},"scopes":[],"version":"1","source":"repo","endpoints":[],"enabled":true,"last_deployed":"2026-03-01T12:00:00.000Z",
	  "webhookSubscriptions":[],"json_schema":null,"sdk_version":"0.71.10-zero","models":[],"features":[]}]}]`)
	wantJSON(t, s.ask("GET", "/scripts/config?format=openai", scope, ""), http.StatusOK, `{"data":[
	{"name":"create-issue","description":"Creates\n- title: of the issue","parameters":{"type":"object",
	  "properties":{"title":{"type":"string","description":"of the issue"}},"required":["title"]}},
	{"name":"issues","description":"Syncs\n- title: of the issue","parameters":{"type":"object","properties":{},"required":[]}},
	{"name":"issues","description":"","parameters":{"type":"object","properties":{},"required":[]}}]}`)
}

func TestAFunctionIsDeletedUnlessAProjectManagesIt(t *testing.T) {
	t.Parallel()
	s := newFunctionServer(t)
	s.deployAll(t)
	const scope = "environment:functions:delete"
	w := s.ask("DELETE", "/integrations/github/functions/issues?type=sync", scope, "")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"code":"function_managed_by_deploy"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	body := `{"flowConfigs":[{"syncName":"mine","providerConfigKey":"github","type":"action","models":[],"runs":null,"fileBody":{"js":"j","ts":"t"}}],
		"reconcile":true,"debug":false,"nangoYamlBody":"","source":"standalone","deployMode":"single"}`
	if w := s.ask("POST", "/sync/deploy", deployScope, body); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	wantJSON(t, s.ask("DELETE", "/integrations/github/functions/mine?type=action", scope, ""), http.StatusOK, `{"data":{"success":true}}`)
	if w := s.ask("GET", "/integrations/github/functions/mine", "environment:functions:read", ""); w.Code != http.StatusNotFound {
		t.Errorf("after its deletion: %d %s", w.Code, w.Body)
	}
}

func TestWhatFunctionsAreNotAskedForIsRefused(t *testing.T) {
	t.Parallel()
	s := newFunctionServer(t)
	s.deployAll(t)
	const path = "/integrations/github/functions"
	long := strings.Repeat("x", 256)
	for target, want := range map[string]string{
		"GET list " + path + "?type=webhook":                       "400 invalid_query_params",
		"GET list " + path + "?limit=0":                            "400 invalid_query_params",
		"GET list " + path + "?limit=101":                          "400 invalid_query_params",
		"GET list " + path + "?page=-1":                            "400 invalid_query_params",
		"GET list " + path + "?page=x":                             "400 invalid_query_params",
		"GET list " + path + "?search=%20":                         "400 invalid_query_params",
		"GET list " + path + "?search=" + long:                     "400 invalid_query_params",
		"GET list " + path + "?unknown=1":                          "400 invalid_query_params",
		"GET list /integrations/a%2Fb/functions?limit=0":           "400 invalid_query_params", // the query first
		"GET list /integrations/a%2Fb/functions":                   "400 invalid_uri_params",
		"GET list /integrations/absent/functions":                  "404 not_found",
		"GET read " + path:                                         "403 forbidden",
		"GET unknown " + path:                                      "401 unknown_user_account",
		"GET read " + path + "/absent":                             "404 not_found",
		"GET read " + path + "/create-issue?type=sync":             "404 not_found",
		"GET read " + path + "/issues?x=1":                         "400 invalid_query_params",
		"GET read " + path + "/" + long:                            "400 invalid_uri_params",
		"GET read /integrations/absent/functions/x":                "404 not_found",
		"GET list " + path + "/issues":                             "403 forbidden",
		"GET read " + path + "/absent/code":                        "404 not_found",
		"GET read " + path + "/absent/code?x=1":                    "400 invalid_query_params",
		"GET read " + path + "/" + long + "/code?x=1":              "400 invalid_uri_params", // the path first
		"GET read " + path + "/create-issue/code?type=sync":        "404 not_found",
		"DELETE delete " + path + "/issues":                        "400 invalid_query_params",
		"DELETE delete " + path + "/issues?type=on-event":          "400 invalid_query_params",
		"DELETE delete " + path + "/absent?type=sync":              "404 not_found",
		"DELETE read " + path + "/issues?type=sync":                "403 forbidden",
		"DELETE delete /integrations/absent/functions/x?type=sync": "404 not_found",
	} {
		parts := strings.SplitN(target, " ", 3)
		scope := "environment:functions:" + parts[1]
		if parts[1] == "unknown" {
			scope = parts[1]
		}
		w := s.ask(parts[0], parts[2], scope, "")
		if got := codeOf(w); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	if w := s.ask("GET", "/scripts/config", "environment:functions:list", ""); w.Code != http.StatusForbidden {
		t.Errorf("/scripts/config: %d", w.Code)
	}
}

// codeOf is "status code" of an answer.
func codeOf(w *httptest.ResponseRecorder) string {
	var body struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &body) // no code then
	return fmt.Sprintf("%d %s", w.Code, body.Error.Code)
}
