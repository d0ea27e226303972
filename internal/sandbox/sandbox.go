package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// What Acme accepts when the options say nothing else. They are public on purpose.
const (
	DefaultClientID      = "acme-client"
	DefaultClientSecret  = "acme-secret"
	DefaultAPIKey        = "acme-key"
	DefaultUser          = "acme"
	DefaultPassword      = "acme"
	DefaultContacts      = 250
	DefaultTokenLifetime = time.Hour
)

// Doer sends a request.
type Doer interface {
	Do(r *http.Request) (*http.Response, error)
}

// Options configure a Server. The zero value is usable: default credentials, 250 contacts, in memory, no control
// endpoints, no webhooks.
type Options struct {
	// Seed decides all generated data and tokens. 0 is 1.
	Seed uint64
	// Contacts is how many are generated, at most 1,000,000. 0 is DefaultContacts, -1 is none.
	Contacts int
	// Now is Acme's clock. Nil is time.Now.
	Now func() time.Time
	// SnapshotPath is the JSON file that keeps changes across restarts, written atomically with mode 0600. "" keeps
	// everything in memory. A snapshot made with another Seed is refused by New.
	SnapshotPath string
	// Client sends webhooks. Nil sends nothing and refuses registrations. It must not follow redirects.
	Client Doer
	// Control opens the endpoints under /_sandbox/, which script faults and read what was received. For development and
	// tests only: whoever reaches them owns the sandbox.
	Control bool
	// TokenLifetime is how long an access token works. 0 is DefaultTokenLifetime.
	TokenLifetime time.Duration
	// ReuseGrace is how long the refresh token before the current one still answers, with the current one. 0 is not at all:
	// any reuse revokes the family.
	ReuseGrace time.Duration
	// Clients are the registered OAuth clients. Empty registers DefaultClientID as an open client.
	Clients []Client
	// APIKeys are accepted in x-api-key. Empty accepts DefaultAPIKey.
	APIKeys []secret.Text
	// Users are accepted by Basic authentication, password by name. Empty accepts DefaultUser.
	Users map[string]secret.Text
	// Logger reports deliveries that failed and internal faults. Nil is slog.Default().
	Logger *slog.Logger
}

// Server is Acme CRM. It is an http.Handler, safe for concurrent use, and may be mounted under a prefix with
// http.StripPrefix. It opens no listener.
type Server struct {
	seed     uint64
	count    int
	clock    func() time.Time
	path     string
	sender   Doer
	control  bool
	defaults settings
	clients  map[string]Client
	apiKeys  []secret.Text
	users    map[string]secret.Text
	log      *slog.Logger

	public, private *http.ServeMux
	crossOrigin     *http.CrossOriginProtection

	settings atomic.Pointer[settings]
	faults   faultScript
	requests requestLog

	mu       sync.RWMutex // guards all below up to saveMu
	contacts *crm.Book
	grants   *grant.Ledger
	hooks    hookSet
	version  uint64 // grows with every change

	saveMu sync.Mutex // held while writing the snapshot; taken before mu
	saved  uint64     // the version on disk
}

// New makes a Server, loading the snapshot if there is one. It starts nothing: webhooks wait for Start.
func New(o Options) (*Server, error) {
	if o.Contacts < -1 || o.Contacts > crm.MaxSeeded {
		return nil, fmt.Errorf("sandbox: %d contacts, want -1 to %d", o.Contacts, crm.MaxSeeded)
	}
	if o.TokenLifetime < 0 || o.ReuseGrace < 0 {
		return nil, errors.New("sandbox: negative token lifetime or reuse grace")
	}
	s := &Server{
		seed: cmp.Or(o.Seed, 1), count: max(0, cmp.Or(o.Contacts, DefaultContacts)), clock: o.Now, path: o.SnapshotPath, control: o.Control,
		defaults: settings{Policy: grant.Policy{Lifetime: cmp.Or(o.TokenLifetime, DefaultTokenLifetime), ReuseGrace: o.ReuseGrace, Rotate: true}},
		clients:  map[string]Client{}, apiKeys: o.APIKeys, users: o.Users, sender: o.Client, log: o.Logger,
		crossOrigin: http.NewCrossOriginProtection(),
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if len(s.apiKeys) == 0 {
		s.apiKeys = []secret.Text{secret.New(DefaultAPIKey)}
	}
	if len(s.users) == 0 {
		s.users = map[string]secret.Text{DefaultUser: secret.New(DefaultPassword)}
	}
	if err := s.register(o.Clients); err != nil {
		return nil, err
	}
	s.settings.Store(&s.defaults)
	s.contacts = crm.NewBook(s.seed, s.count)
	s.grants = grant.New(s.seed)
	if err := s.load(); err != nil {
		return nil, err
	}
	s.public, s.private = s.publicRoutes(), s.controlRoutes()
	return s, nil
}

// Start begins to deliver webhooks, including those that wait since New. Cancelling ctx stops it as Close does.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks.start(ctx, s.deliverAll)
}

// Close stops the deliveries under way, drops those that wait, and returns when their goroutines have ended. It may be
// called twice. Requests are still answered afterwards.
func (s *Server) Close() error {
	s.mu.Lock()
	s.hooks.close()
	s.mu.Unlock()
	s.hooks.running.Wait()
	return nil
}

// ServeHTTP answers as Acme CRM does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Date", s.now().Format(http.TimeFormat)) // so that a skewed clock shows
	if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
		s.serveControl(w, r)
		return
	}
	var entry *received
	if s.control {
		entry = s.requests.add(r, s.now())
		f, ok := s.faults.take(r.Method, r.URL.Path)
		if ok {
			s.requests.blame(entry, f.ID)
			if w, ok = f.play(w, r); !ok {
				return
			}
		}
	}
	// ServeMux redirects unclean paths such as //a/../b; a proxy test wants to see them as they came.
	if p := r.URL.Path; p == "/v1/anything" || strings.HasPrefix(p, "/v1/anything/") {
		s.echo(w, r)
		return
	}
	s.public.ServeHTTP(w, r)
}

func (s *Server) publicRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/authorize", s.authorize)
	mux.HandleFunc("POST /oauth/authorize", s.authorize)
	mux.HandleFunc("POST /oauth/token", s.token)
	mux.HandleFunc("POST /oauth/revoke", s.revoke)
	mux.HandleFunc("POST /oauth/introspect", s.introspect)

	mux.HandleFunc("GET /v1/me", s.allow("", s.me))
	mux.HandleFunc("GET /v1/contacts", s.allow(scopeContactsRead, s.listByCursor))
	mux.HandleFunc("GET /v1/contacts/offset", s.allow(scopeContactsRead, s.listByOffset))
	mux.HandleFunc("GET /v1/contacts/link", s.allow(scopeContactsRead, s.listByLink))
	mux.HandleFunc("POST /v1/contacts", s.allow(scopeContactsWrite, s.createContact))
	mux.HandleFunc("GET /v1/contacts/{id}", s.allow(scopeContactsRead, s.getContact))
	mux.HandleFunc("PATCH /v1/contacts/{id}", s.allow(scopeContactsWrite, s.changeContact))
	mux.HandleFunc("POST /v1/contacts/{id}", s.allow(scopeContactsWrite, s.changeContact))
	mux.HandleFunc("DELETE /v1/contacts/{id}", s.allow(scopeContactsWrite, s.deleteContact))
	mux.HandleFunc("GET /v1/deals", s.allow(scopeDealsRead, s.listDeals))

	mux.HandleFunc("POST /v1/echo", s.echo)
	mux.HandleFunc("GET /v1/bytes/{n}", s.bytes)
	mux.HandleFunc("GET /v1/slow", s.slow)
	mux.HandleFunc("/v1/status/{code}", s.status)
	mux.HandleFunc("GET /v1/encoded/{encoding}", s.encoded)
	mux.HandleFunc("GET /v1/redirect", s.redirect)
	return mux
}

// now is Acme's clock in UTC with the scripted skew, cut to the millisecond its API shows.
func (s *Server) now() time.Time {
	return s.clock().UTC().Add(s.settings.Load().ClockSkew).Truncate(time.Millisecond)
}

// update runs fn under the lock and, if it changed the state, returns only when the change is on disk. When saving
// fails the change stays in memory and goes to disk with the next one.
func (s *Server) update(fn func() (changed bool)) error {
	s.mu.Lock()
	if !fn() {
		s.mu.Unlock()
		return nil
	}
	s.version++
	version := s.version
	s.mu.Unlock()
	return s.save(version)
}
