package storetest_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/sandbox"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/providers"
)

// TestARotatingProviderSeesEachRefreshTokenOnce goes through many expiries with the sandbox as the provider, over HTTP and
// through the door: the sandbox revokes everything when a refresh token comes twice.
func TestARotatingProviderSeesEachRefreshTokenOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		const nodes, callers, expiries = 3, 10, 8
		p := ready(t, s)
		acme, err := sandbox.New(sandbox.Options{Control: true, Now: p.clock.Now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(acme)
		t.Cleanup(server.Close)
		i, c := p.sandboxConnection(t, acme, server.URL)

		address, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		allowed, err := egress.ParseEntry(address.Host)
		if err != nil {
			t.Fatal(err)
		}
		door := egress.New(egress.Options{Policy: egress.Policy{Allow: []egress.Entry{allowed}}})
		t.Cleanup(door.Close)
		client := oauth.New(oauth.Options{HTTP: door.Client(egress.ClientOptions{}), Now: p.clock.Now})
		yield := func(ctx context.Context, _ time.Duration) error {
			runtime.Gosched()
			return context.Cause(ctx)
		}
		var coordinators []interface {
			Ensure(ctx context.Context, i *integration.Integration, c *connection.Connection, force bool) (*connection.Connection, error)
		}
		for range nodes {
			coordinators = append(coordinators, p.coordinator(client, yield))
		}
		all := func() error {
			var group errgroup.Group
			for _, k := range coordinators {
				for range callers {
					group.Go(func() error {
						seen, err := p.connections.Get(t.Context(), i, c.ConnectionID)
						if err != nil {
							return err
						}
						_, err = k.Ensure(t.Context(), i, seen, false)
						return err
					})
				}
			}
			return group.Wait()
		}
		for expiry := range expiries {
			p.clock.set(p.clock.Now().Add(time.Hour))
			if expiry == 3 {
				post(t, server.URL+"/_sandbox/faults", `[{"match":{"path":"/oauth/token"},"status":503}]`)
				if err := all(); errs.Code(err) != "refresh_token_external_error" && errs.Code(err) != "connection_refresh_backoff" {
					t.Fatalf("in an outage: %v", err)
				}
				p.clock.set(p.clock.Now().Add(31 * time.Second))
			}
			if err := all(); err != nil {
				t.Fatalf("expiry %d: %v", expiry, err)
			}
		}
		var stats struct {
			Refreshed     int `json:"refreshed"`
			ReuseDetected int `json:"reuse_detected"`
		}
		get(t, server.URL+"/_sandbox/tokens/stats", "", &stats)
		if stats.Refreshed != expiries || stats.ReuseDetected != 0 {
			t.Errorf("%d refreshes for %d expiries, %d tokens spent twice", stats.Refreshed, expiries, stats.ReuseDetected)
		}
		last, err := p.connections.Get(t.Context(), i, c.ConnectionID)
		if err != nil {
			t.Fatal(err)
		}
		get(t, server.URL+"/v1/me", last.Credentials.Text("access_token"), nil)
		if last.Version != expiries+1 || len(last.Errors) != 0 {
			t.Errorf("version %d, errors %v", last.Version, last.Errors)
		}

		post(t, server.URL+"/_sandbox/reset", `{}`)
		p.clock.set(p.clock.Now().Add(time.Hour))
		if err := all(); err == nil {
			t.Error("a revoked grant is refreshed")
		}
		dead, err := p.connections.Get(t.Context(), i, c.ConnectionID)
		if err != nil || !dead.Refresh.NeedsReconnect || len(dead.Errors) != 1 {
			t.Errorf("%+v %v, %v", dead.Refresh, dead.Errors, err)
		}
	})
}

// sandboxConnection imports a connection to the sandbox with the catalog's own entry for it.
func (p *platform) sandboxConnection(t *testing.T, acme *sandbox.Server, baseURL string) (*integration.Integration, *connection.Connection) {
	t.Helper()
	entry, err := fs.ReadFile(providers.Files, "acme-crm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p.catalog, err = provider.Load(fstest.MapFS{"acme-crm.yaml": &fstest.MapFile{Data: entry}}); err != nil {
		t.Fatal(err)
	}
	i := *p.acme
	i.Provider, i.Secrets = "acme-crm", integration.Secrets{ClientID: sandbox.DefaultClientID, ClientSecret: secret.New("acme-secret")}
	access, refreshToken, expires, err := acme.IssueToken(sandbox.DefaultClientID, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]string{"baseUrl": baseURL})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := p.connections.Import(t.Context(), &i, connection.Connection{
		Config: config, Credentials: oauthCredentials(t, map[string]any{"access_token": access, "refresh_token": refreshToken, "expires_at": expires}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &i, c
}

func post(t *testing.T, url, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answered(t, r, nil)
}

func get(t *testing.T, url, token string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answered(t, r, into)
}

func answered(t *testing.T, r *http.Request, into any) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s answered %d", r.Method, r.URL.Path, resp.StatusCode)
	}
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
}
