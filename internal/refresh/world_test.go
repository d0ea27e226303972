package refresh_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/refresh"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

const acmeEntry = `display_name: Acme
categories: [other]
docs: https://docs.example
sources: [{name: RFC 6749, licence: facts}]
confidence: from-vendor-spec
auth_mode: OAUTH2
authorization_url: https://acme.example/authorize
token_url: https://acme.example/token
token_response_metadata: [account.id, admin, count]
proxy: {base_url: 'https://api.acme.example/${connectionConfig.account.id}/${connectionConfig.admin}/${connectionConfig.count}'}
`

func loadCatalog(t testing.TB) *provider.Catalog {
	t.Helper()
	c, err := provider.Load(fstest.MapFS{"acme.yaml": &fstest.MapFile{Data: []byte(acmeEntry)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errDown = errors.New("the database is down")

// row is the one connection of a world.
type row struct {
	connection.Connection

	owner string
	until time.Time
}

// world is a database with one connection, a provider whose refresh tokens work once, an observer and a log, all in memory.
// It checks what must hold at every moment and notes what did not.
type world struct {
	catalog *provider.Catalog
	logger  *slog.Logger

	tx sync.Mutex // a transaction runs
	mu sync.Mutex

	row       row
	gone      bool
	failWrite func(node string) bool // the transactions that fail
	failTold  bool                   // the observer fails
	saves     int
	// pressing counts the forced callers that wait, by the version that they have.
	pressing map[int64]int
	// early is how much before the margin the world may refresh: 0 but for sweeps.
	early    time.Duration
	events   []string
	records  map[string]oplog.Record
	messages []oplog.Message
	wrong    []string

	server server
}

// server is the token endpoint.
type server struct {
	calls int
	// running counts the calls under way by what they present. A reconnect brings a new grant and frees the lease, so calls
	// with different ones may meet.
	running map[string]int
	// valid is the one refresh token that works; spent are those that worked once; revoked ones never work again.
	valid string
	spent map[string]bool
	// reused counts spent tokens that were presented.
	reused int
	issued int
	life   time.Duration
	// next is how the coming calls go; none left means at once.
	next []behaviour
	raw  string
}

type behaviour struct {
	after   time.Duration
	outage  bool
	refused string
	during  func() // while the call runs
}

func newWorld(catalog *provider.Catalog) *world {
	w := &world{catalog: catalog, logger: slog.New(slog.DiscardHandler), records: map[string]oplog.Record{}, pressing: map[int64]int{}}
	w.server = server{valid: "refresh-0", spent: map[string]bool{}, running: map[string]int{}, life: time.Hour}
	w.row.Connection = connection.Connection{
		ID: 7, UUID: "u", EnvironmentID: 3, IntegrationID: 5, IntegrationKey: "acme", Provider: "acme", ConnectionID: "c1", Version: 1,
		Config: json.RawMessage(`{"own":"value"}`), Credentials: grant("access-0", "refresh-0", time.Now().Add(time.Hour)),
	}
	return w
}

func grant(access, refreshToken string, expires time.Time) connection.Credentials {
	c, err := connection.NewCredentials(provider.OAuth2, map[string]any{"access_token": access, "refresh_token": refreshToken, "expires_at": expires})
	if err != nil {
		panic(err)
	}
	return c
}

func (w *world) integration() *integration.Integration {
	return &integration.Integration{
		ID: 5, EnvironmentID: 3, Key: "acme", Provider: "acme", Secrets: integration.Secrets{ClientID: "id", ClientSecret: secret.New("client-secret")},
	}
}

// node is a coordinator over the world, and the stores as it reaches them.
type node struct {
	*refresh.Coordinator

	world *world
	name  string
}

func (w *world) node(name string, change ...func(*refresh.Options)) *node {
	n := &node{world: w, name: name}
	opts := refresh.Options{
		Store: n, Tx: n, Connections: n, Integrations: n, Catalog: w.catalog, Observer: n, Logger: w.logger,
		Log: oplog.New(oplog.Options{Writer: logWriter{w}, Logger: w.logger}),
		Renewers: map[provider.AuthMode]refresh.Renewer{
			provider.OAuth2: refresh.RefreshGrant{Client: n}, provider.OAuth2CC: refresh.ClientGrant{Client: n},
		},
	}
	for _, f := range change {
		f(&opts)
	}
	n.Coordinator = refresh.New(opts)
	return n
}

// get is what a caller does: read the connection, then make it fresh.
func (n *node) get(ctx context.Context, force bool) (*connection.Connection, error) {
	c, err := n.GetByID(ctx, 3, 7)
	if err != nil {
		return nil, err
	}
	if force {
		n.world.press(c.Version, 1)
		defer n.world.press(c.Version, -1)
	}
	return n.Ensure(ctx, n.world.integration(), c, force)
}

func (w *world) press(version int64, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pressing[version] += n
}

func (w *world) reconnect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server.issued++
	w.server.valid = fmt.Sprintf("refresh-r%d", w.server.issued)
	w.row.Version++
	w.row.Credentials = grant(fmt.Sprintf("access-r%d", w.server.issued), w.server.valid, time.Now().Add(w.server.life))
	w.row.Errors, w.row.Refresh, w.row.owner, w.row.until = nil, connection.RefreshState{}, "", time.Time{}
	w.events = append(w.events, "reconnected")
}

// justified is called before each token call: somebody must have a reason for it.
func (w *world) justified() {
	if w.pressing[w.row.Version] > 0 {
		return
	}
	r, now := w.row.Refresh, time.Now()
	switch {
	case r.NeedsReconnect:
		w.violatedf("a dead connection was refreshed")
	case r.Failures > 0 && now.Before(r.LastFailure.Add(min(30*time.Second<<(min(r.Failures, 9)-1), time.Hour))):
		w.violatedf("a call %s after failure %d", now.Sub(r.LastFailure), r.Failures)
	case w.row.Credentials.Expiry().Sub(now) > 15*time.Minute+w.early:
		w.violatedf("a token with %s left was refreshed", w.row.Credentials.Expiry().Sub(now))
	}
}

func (w *world) violatedf(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// Refresh implements refresh.OAuthClient.
func (n *node) Refresh(ctx context.Context, _ oauth.Party, refreshToken secret.Text) (oauth.Token, error) {
	w := n.world
	w.mu.Lock()
	s := &w.server
	s.calls++
	w.justified()
	token := refreshToken.Reveal()
	if s.running[token]++; s.running[token] > 1 {
		w.violatedf("%d calls present %s at a time", s.running[token], token)
	}
	var b behaviour
	if len(s.next) > 0 {
		b, s.next = s.next[0], s.next[1:]
	}
	w.mu.Unlock()
	if b.during != nil {
		b.during()
	}
	var err error
	if b.after > 0 {
		select {
		case <-time.After(b.after):
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.running[token]--
	switch {
	case err != nil || b.outage: // the endpoint did not get to it
		return oauth.Token{}, &oauth.UnreachableError{Timeout: err != nil}
	case b.refused != "":
		return oauth.Token{}, &oauth.Refused{Status: 400, Code: b.refused, Permanent: true, Client: b.refused == "invalid_client"}
	case token != s.valid:
		if s.spent[token] {
			s.reused++
		}
		return oauth.Token{}, &oauth.Refused{Status: 400, Code: "invalid_grant", Description: "gone", Permanent: true}
	}
	s.spent[token] = true
	s.issued++
	s.valid = fmt.Sprintf("refresh-%d", s.issued)
	raw := s.raw
	if raw == "" {
		raw = "{}"
	}
	return oauth.Token{
		Access: secret.New(fmt.Sprintf("access-%d", s.issued)), Refresh: secret.New(s.valid), ExpiresAt: time.Now().Add(s.life), Raw: json.RawMessage(raw),
	}, nil
}

// ClientCredentials implements refresh.OAuthClient.
func (n *node) ClientCredentials(_ context.Context, p oauth.Party, cc oauth.ClientCredentials) (oauth.Token, error) {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	n.world.server.calls++
	n.world.events = append(n.world.events, fmt.Sprint("asked for ", cc.Scopes, " as ", p.ClientID))
	return oauth.Token{Access: secret.New("client-token"), ExpiresAt: time.Now().Add(time.Hour), Raw: json.RawMessage(`{}`)}, nil
}

type inTx struct{}

// Write implements refresh.Tx. What a failing closure did is undone.
func (n *node) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	if ctx.Value(inTx{}) != nil {
		return fn(ctx)
	}
	w := n.world
	w.tx.Lock()
	defer w.tx.Unlock()
	w.mu.Lock()
	before, events := w.row, slices.Clone(w.events)
	down := w.failWrite != nil && w.failWrite(n.name)
	w.mu.Unlock()
	if down {
		return errDown
	}
	err := fn(context.WithValue(ctx, inTx{}, true))
	if err != nil {
		w.mu.Lock()
		w.row, w.events = before, events
		w.mu.Unlock()
	}
	return err
}

// change runs a statement, in a transaction of its own if there is none.
func (n *node) change(ctx context.Context, where func(r *row) bool, set func(r *row)) (bool, error) {
	hit := false
	err := n.Write(ctx, func(context.Context) error {
		n.world.mu.Lock()
		defer n.world.mu.Unlock()
		if hit = !n.world.gone && where(&n.world.row); hit {
			set(&n.world.row)
		}
		return nil
	})
	return hit, err
}

func (n *node) Lease(ctx context.Context, _, _ int64, owner string, now, until time.Time) (bool, error) {
	return n.change(ctx, func(r *row) bool { return !r.until.After(now) }, func(r *row) { r.owner, r.until = owner, until })
}

func (n *node) Release(ctx context.Context, _, _ int64, owner string) error {
	_, err := n.change(ctx, func(r *row) bool { return r.owner == owner }, func(r *row) { r.owner, r.until = "", time.Time{} })
	return err
}

func (n *node) Save(ctx context.Context, c connection.Stored, owner string) (bool, error) {
	return n.change(ctx, func(r *row) bool { return r.owner == owner && r.Version == c.Version-1 }, func(r *row) {
		n.world.saves++
		r.Credentials, r.Version, r.Refresh, r.owner, r.until = c.Credentials, c.Version, connection.RefreshState{}, "", time.Time{}
		if c.SealedConfig != nil {
			r.Config = c.Config
		}
	})
}

func (n *node) Fail(ctx context.Context, c connection.Connection, owner string) (bool, error) {
	return n.change(ctx, func(r *row) bool { return r.owner == owner && r.Version == c.Version },
		func(r *row) { r.Refresh, r.owner, r.until = c.Refresh, "", time.Time{} })
}

func (n *node) Due(_ context.Context, q refresh.Query) ([]refresh.Due, error) {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	r := n.world.row
	at := r.Credentials.Expiry()
	if q.After.ID != 0 || r.Refresh.NeedsReconnect || at.After(q.ExpireBy) || !r.LastFetchedAt.After(q.IdleSince) && at.After(q.IdleSince) {
		return nil, nil
	}
	return []refresh.Due{{EnvironmentID: 3, ID: 7, IntegrationKey: "acme", ExpiresAt: at, Refresh: r.Refresh}}, nil
}

func (n *node) GetByID(context.Context, int64, int64) (*connection.Connection, error) {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	if n.world.gone {
		return nil, connection.ErrNotFound
	}
	c := n.world.row.Connection
	return &c, nil
}

func (n *node) Seal(c connection.Connection) (connection.Stored, error) {
	return connection.Stored{Connection: c, SealedCredentials: []byte("sealed"), SealedConfig: []byte("sealed")}, nil
}

func (n *node) SetError(ctx context.Context, _, _ int64, e connection.ActiveError) (bool, error) {
	return n.change(ctx, func(*row) bool { return true }, func(r *row) { r.Errors = []connection.ActiveError{e} })
}

func (n *node) ClearError(ctx context.Context, _, _ int64, _, _ string) (bool, error) {
	return n.change(ctx, func(*row) bool { return true }, func(r *row) { r.Errors = nil })
}

func (n *node) Get(context.Context, int64, string) (*integration.Integration, error) {
	return n.world.integration(), nil
}

var errTold = errors.New("the observer fails")

func (n *node) tell(ctx context.Context, event string) error {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	if ctx.Value(inTx{}) == nil {
		n.world.violatedf("%s was told outside of a transaction", event)
	}
	if n.world.failTold {
		return errTold
	}
	n.world.events = append(n.world.events, event)
	return nil
}

func (n *node) Failed(ctx context.Context, _ *connection.Connection, code, _ string, permanent bool) error {
	if permanent {
		return n.tell(ctx, "died of "+code)
	}
	return n.tell(ctx, "failed with "+code)
}

func (n *node) Recovered(ctx context.Context, _ *connection.Connection) error {
	return n.tell(ctx, "recovered")
}

// logWriter is the operations' writer; its methods would clash with those of the stores.
type logWriter struct{ world *world }

func (l logWriter) Save(_ context.Context, r oplog.Record) error {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.world.records[r.ID] = r
	return nil
}

func (l logWriter) Append(_ context.Context, _ oplog.Record, messages []oplog.Message) error {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.world.messages = append(l.world.messages, messages...)
	return nil
}

func (l logWriter) Load(context.Context, int64, string) (oplog.Record, error) {
	return oplog.Record{}, errors.New("nothing is loaded here")
}

// ended gives the states of the operations, oldest first.
func (w *world) ended() []oplog.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	var states []oplog.State
	for _, id := range slices.SortedFunc(maps.Keys(w.records), func(a, b string) int { return w.records[a].CreatedAt.Compare(w.records[b].CreatedAt) }) {
		states = append(states, w.records[id].State)
	}
	return states
}

func (w *world) now() row {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.row
}

func (w *world) lock(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.server.calls
}

func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}
