package refresh

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

const (
	// Lease is how long one node may work on one connection. It must exceed oauth.Timeout by more than clocks differ, and
	// bounds how long the others wait for a node that died.
	Lease = oauth.Timeout + 5*time.Second
	// flightLimit ends a flight that gets neither the lease nor a result: two leases of nodes that died, and a call.
	flightLimit = 2 * time.Minute
)

// Store keeps the lease and the outcome in the connection's row.
type Store interface {
	// Lease gives a connection to owner until the given time, unless somebody has it at now. It is false also when there is no
	// such connection.
	Lease(ctx context.Context, environmentID, id int64, owner string, now, until time.Time) (bool, error)
	// Release gives the lease back if owner has it.
	Release(ctx context.Context, environmentID, id int64, owner string) error
	// Save stores renewed credentials, clears the refresh state and gives the lease back, if the row has the version before
	// c.Version and owner has the lease. A nil SealedConfig leaves the configuration.
	Save(ctx context.Context, c connection.Stored, owner string) (bool, error)
	// Fail stores c.Refresh and gives the lease back, if the row has c.Version and owner has the lease.
	Fail(ctx context.Context, c connection.Connection, owner string) (bool, error)
	// Due lists connections of all environments that the query matches, by expiry.
	Due(ctx context.Context, q Query) ([]Due, error)
}

// Connections are the rules of connections.
type Connections interface {
	GetByID(ctx context.Context, environmentID, id int64) (*connection.Connection, error)
	Seal(c connection.Connection) (connection.Stored, error)
	SetError(ctx context.Context, environmentID, id int64, e connection.ActiveError) (first bool, err error)
	ClearError(ctx context.Context, environmentID, id int64, errorType, source string) (cleared bool, err error)
}

// Integrations finds the integration of a connection.
type Integrations interface {
	Get(ctx context.Context, environmentID int64, key string) (*integration.Integration, error)
}

// Catalog finds providers.
type Catalog interface {
	Get(name string) (*provider.Provider, bool)
}

// Tx runs a closure in a transaction of the control plane.
type Tx interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
}

// Observer is told of transitions in the transaction that records them. An error undoes the transaction, which is then tried
// again; in the end credentials are saved without the observer rather than lost.
type Observer interface {
	// Failed is called when a healthy connection begins to fail, and, with permanent set, when one dies.
	Failed(ctx context.Context, c *connection.Connection, code, message string, permanent bool) error
	// Recovered is called when a renewal succeeds for a connection that was failing or dead.
	Recovered(ctx context.Context, c *connection.Connection) error
}

// Options of New. All but Observer, Now and Wait are required.
type Options struct {
	Store        Store
	Tx           Tx
	Connections  Connections
	Integrations Integrations
	Catalog      Catalog
	Log          *oplog.Log
	// Renewers get new credentials, by the mode of the old ones. Credentials of other modes are handed out as they are.
	Renewers map[provider.AuthMode]Renewer
	Observer Observer         // nil: nobody is told
	Now      func() time.Time // nil: time.Now
	// Wait returns after d, or with the cause when ctx ends. nil: a timer.
	Wait   func(ctx context.Context, d time.Duration) error
	Logger *slog.Logger // nil: slog.Default
}

// Coordinator makes credentials fresh. It is safe for concurrent use.
//
// It is a lifecycle.Service named "refresh": started, it renews by itself what is in use, or was not used for long, and is
// about to expire. Ensure works without that. After Stop nothing is renewed any more.
type Coordinator struct {
	*lifecycle.Loop

	opts Options
	node string

	mu      sync.Mutex
	flights map[int64]*flight // by connection
	stopped bool
	running sync.WaitGroup
}

// New makes a Coordinator.
func New(opts Options) *Coordinator {
	if opts.Observer == nil {
		opts.Observer = nobody{}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Wait == nil {
		opts.Wait = lifecycle.Sleep
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	k := &Coordinator{opts: opts, node: randomName(), flights: map[int64]*flight{}}
	k.Loop = lifecycle.NewLoop("refresh", opts.Logger, k.sweepForever)
	return k
}

type nobody struct{}

func (nobody) Failed(context.Context, *connection.Connection, string, string, bool) error { return nil }
func (nobody) Recovered(context.Context, *connection.Connection) error                    { return nil }

func randomName() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// Ensure returns c with credentials that are good for a while, renewing them when they are about to expire, or when force is
// set. It satisfies everybody with a version newer than c's, forced callers too. Credentials that can't be renewed are
// returned as they are.
//
// A connection that can't be made fresh is an *errs.Error: 400 with the code of the failed attempt, 424
// connection_refresh_backoff, or 424 connection_refresh_exhausted. Without force, credentials that still work are returned
// instead of a temporary failure. The renewal goes on when ctx ends. The result is the caller's, what it points to is shared.
func (k *Coordinator) Ensure(ctx context.Context, i *integration.Integration, c *connection.Connection, force bool) (*connection.Connection, error) {
	return k.ensure(ctx, i, c, force, 0)
}

// ensure treats credentials as expiring that much earlier.
func (k *Coordinator) ensure(
	ctx context.Context, i *integration.Integration, c *connection.Connection, force bool, early time.Duration,
) (*connection.Connection, error) {
	p, known := k.opts.Catalog.Get(i.Provider)
	renewer := k.opts.Renewers[c.Credentials.Mode()]
	if !known || renewer == nil || !renewer.Renewable(c) {
		return c, nil
	}
	want := attempt{Coordinator: k, integration: i, provider: p, renewer: renewer, seen: c, force: force, early: early}
	for {
		if done, err := want.settled(want.seen); done {
			return want.result(c), err
		}
		f := k.join(want)
		if f == nil {
			if !want.expired(want.seen) {
				return want.result(c), nil
			}
			return nil, lifecycle.ErrStopping
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var failure *RenewalError
		switch {
		case f.err != nil && f.version < want.seen.Version: // of credentials before those the caller has
		case errors.As(f.err, &failure):
			if !failure.Dead && !force && !want.expired(want.seen) {
				return want.result(c), nil
			}
			return nil, failure.public()
		case f.err != nil:
			return nil, f.err
		case f.connection.Version > want.seen.Version:
			want.seen = f.connection
			return want.result(c), nil
		case f.connection.Version == want.seen.Version:
			want.seen = f.connection // the refresh state may be newer
		}
	}
}

// result is what was found, with what the caller alone knows.
func (a attempt) result(asked *connection.Connection) *connection.Connection {
	if a.seen == asked {
		return asked
	}
	found := *a.seen
	if asked.LastFetchedAt.After(found.LastFetchedAt) {
		found.LastFetchedAt = asked.LastFetchedAt
	}
	return &found
}

// flight is a renewal that callers of this process wait for. The fields are set when done is closed.
type flight struct {
	done       chan struct{}
	version    int64 // that its first caller had
	connection *connection.Connection
	err        error
}

// join waits on the flight of a connection, or starts one; nil after Stop.
func (k *Coordinator) join(a attempt) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f, ok := k.flights[a.seen.ID]; ok {
		return f
	}
	if k.stopped {
		return nil
	}
	f := &flight{done: make(chan struct{}), version: a.seen.Version}
	k.flights[a.seen.ID] = f
	// Not the caller's context: others wait for this too, and a value in it may be the caller's transaction.
	k.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), flightLimit)
		defer cancel()
		defer func() {
			k.mu.Lock()
			delete(k.flights, a.seen.ID)
			k.mu.Unlock()
			close(f.done)
		}()
		f.connection, f.err = a.runSafely(ctx)
	})
	return f
}

// runSafely keeps a fault in one provider's code from ending the process.
func (a attempt) runSafely(ctx context.Context) (c *connection.Connection, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.opts.Logger.ErrorContext(ctx, "panic", "connection", a.seen.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return a.run(ctx)
}

// Stop ends the background renewals, waits for those under way, and refuses new ones.
func (k *Coordinator) Stop(ctx context.Context) error {
	err := k.Loop.Stop(ctx)
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		k.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, context.Cause(ctx))
	}
}
