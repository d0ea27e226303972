package function

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Store keeps functions.
type Store interface {
	Tx
	Hints
	Rows
	Texts
}

// Tx runs a closure in a transaction of the control plane.
type Tx interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
}

// Hints carries cache invalidations between nodes.
type Hints interface {
	Notify(ctx context.Context, topic, payload string) error
	Listen(topic string, deliver func(payload string)) (cancel func())
}

// Rows are never changed but for active and enabled: a deployment adds rows, older ones stay for rollback.
type Rows interface {
	// LockEnvironment makes deployments of several nodes go one after the other, until the transaction ends.
	LockEnvironment(ctx context.Context, environmentID int64) error
	// List gives the active functions by integration, type and name; integrationID 0 means all.
	List(ctx context.Context, environmentID, integrationID int64) ([]Function, error)
	// Find gives an active function with the text of its bundle, or ErrNotFound.
	Find(ctx context.Context, environmentID, integrationID int64, t Type, name string) (Function, string, error)
	Insert(ctx context.Context, f Function) (id int64, err error)
	Deactivate(ctx context.Context, environmentID, id int64) error
	CountConnections(ctx context.Context, integrationID int64) (int, error)
	// DeleteAll removes everything of an integration.
	DeleteAll(ctx context.Context, integrationID int64) error
}

// Texts are stored once, under their Hash.
type Texts interface {
	InsertText(ctx context.Context, hash, text string) error
	Text(ctx context.Context, hash string) (string, error)
}

// Integrations finds integrations.
type Integrations interface {
	Get(ctx context.Context, environmentID int64, key string) (*integration.Integration, error)
}

// Hooks are told of a deployment inside its transaction. An error undoes it.
type Hooks interface {
	Deployed(ctx context.Context, e tenant.Environment, p Plan) error
}

// Options of New. Store and Integrations are required.
type Options struct {
	Store        Store
	Integrations Integrations
	Hooks        []Hooks
	Now          func() time.Time
}

// Service is the rules of deployed functions. Close stops its cache from listening.
type Service struct {
	opts Options
	stop func()

	mu        sync.RWMutex
	cache     map[cacheKey]cached
	changes   int64
	deploying map[int64]bool
}

type cacheKey struct {
	environmentID, integrationID int64
	kind                         Type
	name                         string
}

type cached struct {
	function *Function
	until    time.Time
}

// Limits of the cache. A node that missed an invalidation serves an old function for cacheLife at the most; a full cache is
// emptied.
const (
	cacheLife = 30 * time.Second
	cacheSize = 5_000
)

const topic = "function"

// New makes a Service.
func New(opts Options) *Service {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Service{opts: opts, cache: map[cacheKey]cached{}, deploying: map[int64]bool{}}
	s.stop = opts.Store.Listen(topic, func(string) { s.empty() })
	return s
}

// Close stops listening for changes.
func (s *Service) Close() { s.stop() }

func (s *Service) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	s.cache = map[cacheKey]cached{}
}

func (s *Service) begin(environmentID int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deploying[environmentID] {
		return false
	}
	s.deploying[environmentID] = true
	return true
}

func (s *Service) end(environmentID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.deploying, environmentID)
}

// Get finds an active function, ready to run, from the cache when it is there.
func (s *Service) Get(ctx context.Context, i *integration.Integration, t Type, name string) (*Function, error) {
	k, now := cacheKey{i.EnvironmentID, i.ID, t, name}, s.opts.Now()
	s.mu.RLock()
	entry, changes := s.cache[k], s.changes
	s.mu.RUnlock()
	if now.Before(entry.until) {
		return entry.function, nil
	}
	f, js, err := s.opts.Store.Find(ctx, i.EnvironmentID, i.ID, t, name)
	if err != nil {
		return nil, err
	}
	f.js = js
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == changes { // else what was read may be old already
		if len(s.cache) >= cacheSize {
			s.cache = map[cacheKey]cached{}
		}
		s.cache[k] = cached{&f, now.Add(cacheLife)}
	}
	return &f, nil
}

// List gives the active functions of an environment, or of one integration, by integration, type and name.
func (s *Service) List(ctx context.Context, environmentID, integrationID int64) ([]Function, error) {
	return s.opts.Store.List(ctx, environmentID, integrationID)
}

// Source gives the TypeScript of a function.
func (s *Service) Source(ctx context.Context, f *Function) (string, error) {
	return s.opts.Store.Text(ctx, f.TSHash)
}

// ErrManagedByDeploy is for a function that a project manages: removing it there and deploying is the way.
var ErrManagedByDeploy = errs.New(http.StatusBadRequest, "function_managed_by_deploy",
	"The function belongs to a deployed project: remove it there and deploy again")

// Delete removes a function that no project manages.
func (s *Service) Delete(ctx context.Context, e tenant.Environment, f *Function) error {
	if f.Source == FromRepo {
		return ErrManagedByDeploy
	}
	defer s.empty() // the note comes later
	return s.opts.Store.Write(ctx, func(ctx context.Context) error {
		if err := s.opts.Store.LockEnvironment(ctx, e.ID); err != nil {
			return fmt.Errorf("lock environment %d: %w", e.ID, err)
		}
		connections, err := s.opts.Store.CountConnections(ctx, f.IntegrationID)
		if err != nil {
			return fmt.Errorf("count the connections of %s: %w", f.Integration, err)
		}
		return s.apply(ctx, e, Plan{Deleted: []Change{{Old: f, Connections: connections}}})
	})
}

// DeleteAll removes the functions of an integration, inside the transaction that deletes it.
func (s *Service) DeleteAll(ctx context.Context, i integration.Integration) error {
	if err := s.opts.Store.DeleteAll(ctx, i.ID); err != nil {
		return fmt.Errorf("delete functions: %w", err)
	}
	return s.opts.Store.Notify(ctx, topic, "")
}

func encodeDefinition(d Definition) []byte {
	data, err := json.Marshal(d)
	if err != nil { // strings and JSON that was parsed before
		panic(err)
	}
	return data
}
