package proxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

// Integrations finds integrations.
type Integrations interface {
	Get(ctx context.Context, environmentID int64, key string) (*integration.Integration, error)
}

// Connections finds connections.
type Connections interface {
	Get(ctx context.Context, i *integration.Integration, connectionID string) (*connection.Connection, error)
	// Touch notes that the credentials were used.
	Touch(c *connection.Connection)
}

// Catalog finds providers.
type Catalog interface {
	Get(name string) (*provider.Provider, bool)
}

// Fresh makes credentials fresh.
type Fresh interface {
	// Ensure returns the connection with credentials that are good for a while; force refreshes them in any case. Credentials
	// that can't be refreshed come back as they are. A refusal is an *errs.Error.
	Ensure(ctx context.Context, i *integration.Integration, c *connection.Connection, force bool) (*connection.Connection, error)
}

// Operations is where operations begin.
type Operations interface {
	Begin(ctx context.Context, r oplog.Record) *oplog.Operation
}

// Options of New. Door and the interfaces are required.
type Options struct {
	Integrations Integrations
	Connections  Connections
	Catalog      Catalog
	Fresh        Fresh
	Operations   Operations

	// Door opens the connections. Its own limit on the wait for an answer holds as well as Idle: give it one that is not shorter.
	Door *egress.Door
	// Idle ends a call in which no byte moved for so long: while the request is sent, while the answer is awaited, while it
	// arrives. 0 means 5 minutes, the longest that common gateways wait for a report.
	Idle time.Duration
	// ForbidOverride refuses every base-url-override.
	ForbidOverride bool

	Now func() time.Time
	// Sleep waits, or returns the error of ctx when that ends first.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter gives a number in [0, 1), so that callers who failed together don't come back together.
	Jitter func() float64
}

const defaultIdle = 5 * time.Minute

// doer sends a request.
type doer interface {
	Do(r *http.Request) (*http.Response, error)
}

// Service sends requests. It is safe for concurrent use.
type Service struct {
	opts Options
	// plain keeps credentials from following a redirect to another party; forwarding sends every header on every hop.
	plain, forwarding doer

	placed placements
	forced throttle
}

// New makes a Service.
func New(opts Options) *Service {
	if opts.Idle == 0 {
		opts.Idle = defaultIdle
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Sleep == nil {
		opts.Sleep = sleep
	}
	if opts.Jitter == nil {
		opts.Jitter = jitter
	}
	return &Service{
		opts:       opts,
		plain:      opts.Door.Client(egress.ClientOptions{FollowRedirects: true}),
		forwarding: opts.Door.Client(egress.ClientOptions{FollowRedirects: true, ForwardHeaders: true}),
		forced:     throttle{every: refreshPause},
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func jitter() float64 {
	var random [8]byte
	_, _ = rand.Read(random[:])                                           // never fails
	return float64(binary.NativeEndian.Uint64(random[:])>>11) / (1 << 53) // 53 bits are what a float64 holds
}

// maxKept bounds the two maps below; a full one is emptied, which costs one more parse or refresh per entry in use.
const maxKept = 10_000

// placements keeps the proxy rules of integrations that place an API key themselves, because parsing them takes longer than
// using them.
type placements struct {
	mu   sync.Mutex
	kept map[int64]placed
}

type placed struct {
	from  *integration.Integration
	entry *provider.Provider
	proxy *provider.Proxy
}

// rules gives the proxy rules of an integration. Integrations and catalog entries are immutable, so an equal pointer is an
// equal value.
func (p *placements) rules(i *integration.Integration, entry *provider.Provider) *provider.Proxy {
	if len(entry.IntegrationConfig) == 0 {
		return &entry.Proxy
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.kept[i.ID]; ok && have.from == i && have.entry == entry {
		return have.proxy
	}
	proxy := entry.ProxyFor(i.Secrets.Config)
	if p.kept == nil || len(p.kept) >= maxKept {
		p.kept = map[int64]placed{}
	}
	p.kept[i.ID] = placed{i, entry, &proxy}
	return &proxy
}

// refreshPause is how long after a forced refresh another 401 does not force one again. APIs answer 401 for other reasons too,
// such as a resource that the token has no right to, and a refresh per call would wear the grant out.
const refreshPause = time.Minute

// throttle lets each key through once per period.
type throttle struct {
	every time.Duration
	mu    sync.Mutex
	last  map[int64]time.Time
}

func (t *throttle) allow(key int64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.last[key]; ok && now.Sub(last) < t.every {
		return false
	}
	if t.last == nil || len(t.last) >= maxKept {
		t.last = map[int64]time.Time{}
	}
	t.last[key] = now
	return true
}
