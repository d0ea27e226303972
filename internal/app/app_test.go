package app_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/config"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// TestMain lets the test binary be the runner process of the apps under test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "runner" {
		os.Exit(runner.Main(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// onBoth runs test on each engine, with options for an app of its own.
func onBoth(t *testing.T, test func(t *testing.T, opts app.Options)) {
	t.Helper()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := config.Register(pflag.NewFlagSet("test", pflag.ContinueOnError))
			cfg.Port, cfg.Host, cfg.DataDir, cfg.ShutdownGrace = 0, "127.0.0.1", t.TempDir(), 10*time.Second
			if engine == "postgres" {
				cfg.DatabaseURL = secret.New(storetest.Postgres(t).PostgresURL)
			}
			test(t, app.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test"})
		})
	}
}

func start(t *testing.T, opts app.Options) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(a.Stop(ctx), a.Stop(ctx)); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// keys gives the secret key of each environment.
func keys(t *testing.T, a *app.App) map[string]string {
	t.Helper()
	all, err := a.Environments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, e := range all {
		byName[e.Name] = e.SecretKey.Reveal()
	}
	return byName
}

// call makes a request and returns the status and the body. Headers are pairs of name and value.
func call(t *testing.T, a *app.App, key, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// routes are one request for each route that takes a key.
func routes() [][3]string {
	const pair = `"provider_config_key":"crm","connection_id":"c1"`
	return [][3]string{
		{"GET", "/providers", ""}, {"GET", "/providers/github", ""},
		{"GET", "/integrations", ""}, {"POST", "/integrations", `{"provider":"openai","unique_key":"k2"}`}, {"GET", "/integrations/crm", ""},
		{"PATCH", "/integrations/crm", `{"display_name":"x"}`}, {"DELETE", "/integrations/crm", ""},
		{"GET", "/integrations/crm/functions", ""}, {"GET", "/integrations/crm/functions/contacts", ""},
		{"GET", "/connections", ""}, {"GET", "/connections/c1?provider_config_key=crm", ""}, {"DELETE", "/connections/c1?provider_config_key=crm", ""},
		{"POST", "/connections", `{"provider_config_key":"crm","connection_id":"c1","credentials":{"type":"API_KEY","apiKey":"stolen-key"}}`},
		{"PATCH", "/connections/c1?provider_config_key=crm", `{"tags":{"a":"b"}}`},
		{"POST", "/connections/metadata", `{` + pair + `,"metadata":{"a":1}}`}, {"PATCH", "/connections/metadata", `{` + pair + `,"metadata":{"a":1}}`},
		{"GET", "/environment-variables", ""}, {"GET", "/records?model=Contact", ""}, {"PATCH", "/records/prune", `{"model":"Contact","until_cursor":"x"}`},
		{"POST", "/sync/trigger", `{"syncs":["contacts"],` + pair + `}`}, {"POST", "/sync/start", `{"syncs":["contacts"],` + pair + `}`},
		{"POST", "/sync/pause", `{"syncs":["contacts"],` + pair + `}`}, {"GET", "/sync/status?syncs=*&provider_config_key=crm&connection_id=c1", ""},
		{"PUT", "/sync/update-connection-frequency", `{"sync_name":"contacts",` + pair + `,"frequency":"every hour"}`},
		{"POST", "/action/trigger", `{"action_name":"create-contact"}`}, {"GET", "/action/0b6f4a30-2f62-4d0e-9a51-2f8f3a3a7c11", ""},
		{"GET", "/scripts/config", ""}, {"GET", "/proxy/v1/contacts", ""}, {"GET", "/logs/operations", ""},
		{"POST", "/sync/deploy", `{"flowConfigs":[],"reconcile":true,"debug":false,"nangoYamlBody":""}`},
		{"POST", "/sync/deploy/confirmation", `{"flowConfigs":[],"reconcile":false,"debug":false}`},
	}
}

func TestEveryRouteRefusesCallersWithoutAKnownKey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, opts app.Options) {
		a := start(t, opts)
		for _, route := range routes() {
			for key, want := range map[string]string{
				"": "missing_auth_header", "not-a-key": "invalid_secret_key_format", "0b6f4a30-2f62-4d0e-9a51-2f8f3a3a7c11": "unknown_account",
			} {
				status, body := call(t, a, key, route[0], route[1], route[2])
				if status != http.StatusUnauthorized || !strings.Contains(body, `"code":"`+want+`"`) || !strings.Contains(body, `"payload":{}`) {
					t.Errorf("%s %s with the key %q: %d %s, want %s", route[0], route[1], key, status, body, want)
				}
			}
		}
	})
}

func TestAnEnvironmentNeverSeesOrTouchesAnother(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, opts app.Options) {
		a := start(t, opts)
		key := keys(t, a)
		must := func(status int, body string) {
			t.Helper()
			if status > 299 {
				t.Fatalf("%d %s", status, body)
			}
		}
		const mine = "only-dev-may-know-this"
		must(call(t, a, key["dev"], "POST", "/integrations", `{"provider":"acme-crm-api-key","unique_key":"crm"}`))
		must(call(t, a, key["dev"], "POST", "/connections", `{"provider_config_key":"crm","connection_id":"c1","metadata":{"secret":"`+mine+
			`"},"tags":{"team":"`+mine+`"},"connection_config":{"baseUrl":"https://`+mine+`.example"},"credentials":{"type":"API_KEY","apiKey":"`+mine+`"}}`))
		_, before := call(t, a, key["dev"], "GET", "/connections/c1?provider_config_key=crm", "")
		if !strings.Contains(before, mine) {
			t.Fatalf("dev does not see its own: %s", before)
		}
		for _, route := range routes() {
			status, body := call(t, a, key["prod"], route[0], route[1], route[2], "Provider-Config-Key", "crm", "Connection-Id", "c1")
			if status >= 500 || strings.Contains(body, mine) {
				t.Errorf("%s %s from prod: %d %s", route[0], route[1], status, body)
			}
		}
		_, after := call(t, a, key["dev"], "GET", "/connections/c1?provider_config_key=crm", "")
		if cut(before, `"last_fetched_at"`) != cut(after, `"last_fetched_at"`) {
			t.Errorf("prod changed it from\n%s to\n%s", before, after)
		}
	})
}

// cut leaves out a member whose value changes with each read.
func cut(body, member string) string {
	before, after, _ := strings.Cut(body, member)
	_, rest, _ := strings.Cut(after, ",")
	return before + rest
}

func TestBadInputGetsTheContractsAnswer(t *testing.T) {
	t.Parallel()
	a := start(t, func() app.Options {
		cfg := config.Register(pflag.NewFlagSet("test", pflag.ContinueOnError))
		cfg.Port, cfg.Host, cfg.DataDir, cfg.ShutdownGrace = 0, "127.0.0.1", t.TempDir(), 10*time.Second
		return app.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test"}
	}())
	key := keys(t, a)["dev"]
	if status, body := call(t, a, key, "POST", "/integrations", `{"provider":"openai","unique_key":"ai"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/integrations", `{`, 400, `"code":"invalid_json"`},
		{"POST", "/integrations", ``, 400, `"Invalid input: expected object, received undefined"`},
		{"POST", "/integrations", `{"provider":"nobody","unique_key":"x"}`, 400, `"path":["provider"]`},
		{"POST", "/integrations", `{"provider":"openai","unique_key":"ai"}`, 400, `"path":["uniqueKey"]`},
		{"POST", "/integrations", `{"provider":"github","unique_key":"gh"}`, 400, `Credentials are required`},
		{"POST", "/integrations", `{"provider":"openai","unique_key":"a/b","x":1}`, 400, `"unrecognized_keys"`},
		{"POST", "/integrations?x=1", `{"provider":"openai","unique_key":"y"}`, 400, `"code":"invalid_query_params"`},
		{"POST", "/integrations/quickstart", `{"provider":"github","unique_key":"gh"}`, 400, `no shared developer app for github`},
		{"POST", "/integrations/quickstart", `{"provider":"nobody","unique_key":"gh"}`, 400, `"path":["provider"]`},
		{"GET", "/integrations/none", ``, 404, `"code":"not_found"`},
		{"GET", "/connections/c1", ``, 400, `"path":["provider_config_key"]`},
		{"GET", "/connections/c1?provider_config_key=none", ``, 400, `"code":"unknown_provider_config"`},
		{"GET", "/connections/c1?provider_config_key=ai", ``, 404, `"code":"not_found"`},
		{"GET", "/connections?limit=0", ``, 400, `"code":"too_small"`},
		{"GET", "/connections?tags[end_user_email]=x", ``, 400, `Invalid email address`},
		{"DELETE", "/connections/c1?provider_config_key=ai", ``, 400, `{"error":{"code":"unknown_connection"}}`},
		{"POST", "/connections", `{"provider_config_key":"none","credentials":{"type":"NONE"}}`, 404, `"code":"not_found"`},
		{"POST", "/connections", `{"provider_config_key":"ai","credentials":{"type":"BASIC","username":"a","password":"b"}}`, 400, `"code":"invalid_body"`},
		{"POST", "/connections", `{"provider_config_key":"ai","credentials":{"type":"API_KEY","apiKey":""}}`, 400, `"path":["credentials","apiKey"]`},
		{"POST", "/connections/metadata", `{"provider_config_key":"ai","connection_id":["a"],"metadata":{}}`, 404, `"code":"unknown_connection"`},
		{"GET", "/nowhere", ``, 404, `"code":"not_found"`},
	} {
		status, body := call(t, a, key, test.method, test.path, test.body)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %s %s: %d %s; want %d with %s", test.method, test.path, test.body, status, body, test.status, test.want)
		}
	}
	if status, body := call(t, a, key, "POST", "/integrations", `a=b`, "Content-Type", "text/plain"); status != 415 || !strings.Contains(body, "invalid_content_type") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := call(t, a, "", "GET", "/ready", ""); status != http.StatusOK {
		t.Errorf("after all that the server is not ready: %d", status)
	}
}

func TestASecondProcessCanNotOpenTheDataFolder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, opts app.Options) {
		start(t, opts)
		second := *opts.Config
		second.Port = 0
		if _, err := app.New(t.Context(), app.Options{Config: &second, Logger: opts.Logger}); !errors.Is(err, app.ErrInUse) {
			t.Errorf("err = %v", err)
		}
	})
}
