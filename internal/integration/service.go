package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Errors a client may see.
var (
	ErrNotFound = errs.NotFound("Integration does not exist")
	// ErrKeyTaken and ErrHasConnections are refusals of a create or a rename.
	ErrKeyTaken       = errs.New(http.StatusBadRequest, "invalid_body", "Unique key already exists")
	ErrHasConnections = errs.New(http.StatusBadRequest, "invalid_body", "Can't rename an integration with active connections")
)

// ErrDuplicate is what a Store returns when the key exists.
var ErrDuplicate = errors.New("integration key exists")

// Store keeps integrations. Every method is bound to one environment.
type Store interface {
	Insert(ctx context.Context, i Stored) (id int64, err error)
	// Get and List give ErrNotFound, or nothing, for another environment's rows.
	Get(ctx context.Context, environmentID int64, key string) (Stored, error)
	List(ctx context.Context, environmentID int64) ([]Stored, error)
	Update(ctx context.Context, i Stored) error
	Delete(ctx context.Context, environmentID, id int64) error
	HasConnections(ctx context.Context, id int64) (bool, error)
}

// Tx runs a closure in a transaction of the control plane.
type Tx interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
}

// Hints carries cache invalidations between nodes.
type Hints interface {
	Listen(topic string, deliver func(payload string)) (cancel func())
	Notify(ctx context.Context, topic, payload string) error
}

// Catalog finds providers.
type Catalog interface {
	Get(name string) (*provider.Provider, bool)
}

// Deleting is called inside the transaction that deletes an integration, before its row goes.
type Deleting func(ctx context.Context, i Integration) error

// Options of New. Store, Tx, Hints, Vault and Catalog are required.
type Options struct {
	Store   Store
	Tx      Tx
	Hints   Hints
	Vault   *vault.Vault
	Catalog Catalog
	// Deleting are called in order when an integration is deleted.
	Deleting []Deleting
	Now      func() time.Time
}

// Service is the rules of integrations. Close stops its cache from listening.
type Service struct {
	opts  Options
	cache cache
	stop  func()
}

// New makes a Service.
func New(opts Options) *Service {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Service{opts: opts}
	s.stop = opts.Hints.Listen(topic, func(string) { s.cache.empty() })
	return s
}

// Close stops listening for changes.
func (s *Service) Close() { s.stop() }

// Get finds an integration by key, from the cache when it is there.
func (s *Service) Get(ctx context.Context, environmentID int64, key string) (*Integration, error) {
	now := s.opts.Now()
	if i := s.cache.get(environmentID, key, now); i != nil {
		return i, nil
	}
	generation := s.cache.generation()
	stored, err := s.opts.Store.Get(ctx, environmentID, key)
	if err != nil {
		return nil, err
	}
	i, err := s.open(stored)
	if err != nil {
		return nil, err
	}
	s.cache.put(i, now, generation)
	return i, nil
}

// List gives all integrations of an environment by provider, then creation.
func (s *Service) List(ctx context.Context, environmentID int64) ([]*Integration, error) {
	stored, err := s.opts.Store.List(ctx, environmentID)
	if err != nil {
		return nil, fmt.Errorf("list integrations: %w", err)
	}
	all := make([]*Integration, 0, len(stored))
	for _, one := range stored {
		i, err := s.open(one)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// Create stores a new integration. Key, Provider and EnvironmentID must be set; the provider must be in the catalog.
func (s *Service) Create(ctx context.Context, i Integration) (*Integration, error) {
	if _, ok := s.opts.Catalog.Get(i.Provider); !ok {
		return nil, errs.Invalid("invalid_body", errs.Issue{Code: "invalid_string", Message: "Invalid provider", Path: []string{"provider"}})
	}
	i.UUID = uuid.NewString()
	i.CreatedAt = s.opts.Now().UTC()
	i.UpdatedAt = i.CreatedAt
	sealed, err := s.seal(i)
	if err != nil {
		return nil, err
	}
	err = s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		if i.ID, err = s.opts.Store.Insert(ctx, Stored{i, sealed}); err != nil {
			return err
		}
		return s.changed(ctx)
	})
	if errors.Is(err, ErrDuplicate) {
		return nil, ErrKeyTaken.Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("create integration %s: %w", i.Key, err)
	}
	return &i, nil
}

// Update applies change to a copy of the integration and stores it. A rename is refused while it has connections.
func (s *Service) Update(ctx context.Context, environmentID int64, key string, change func(*Integration) error) (*Integration, error) {
	var updated Integration
	err := s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		stored, err := s.opts.Store.Get(ctx, environmentID, key)
		if err != nil {
			return err
		}
		before, err := s.open(stored)
		if err != nil {
			return err
		}
		updated = *before
		if err := change(&updated); err != nil {
			return err
		}
		if updated.Key != before.Key {
			if has, err := s.opts.Store.HasConnections(ctx, before.ID); err != nil {
				return err
			} else if has {
				return ErrHasConnections
			}
		}
		updated.UpdatedAt = s.opts.Now().UTC()
		sealed, err := s.seal(updated)
		if err != nil {
			return err
		}
		if err := s.opts.Store.Update(ctx, Stored{updated, sealed}); err != nil {
			return err
		}
		return s.changed(ctx)
	})
	if errors.Is(err, ErrDuplicate) {
		return nil, ErrKeyTaken.Because(err)
	}
	if err != nil {
		return nil, err
	}
	return &updated, nil
}

// Delete removes the integration and, through the Deleting hooks, all that belongs to it.
func (s *Service) Delete(ctx context.Context, environmentID int64, key string) error {
	return s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		stored, err := s.opts.Store.Get(ctx, environmentID, key)
		if err != nil {
			return err
		}
		for _, hook := range s.opts.Deleting {
			if err := hook(ctx, stored.Integration); err != nil {
				return fmt.Errorf("delete integration %s: %w", key, err)
			}
		}
		if err := s.opts.Store.Delete(ctx, environmentID, stored.ID); err != nil {
			return err
		}
		return s.changed(ctx)
	})
}

// topic is the invalidation of all nodes' caches. Integrations change rarely, so one note empties everything.
const topic = "integration"

func (s *Service) changed(ctx context.Context) error { return s.opts.Hints.Notify(ctx, topic, "") }

func (s *Service) seal(i Integration) ([]byte, error) {
	if i.Secrets.IsZero() {
		return nil, nil
	}
	sealed, err := s.opts.Vault.Seal(i.Secrets.encode(), sealedAt(i.UUID))
	if err != nil {
		return nil, fmt.Errorf("seal integration %s: %w", i.Key, err)
	}
	return sealed, nil
}

func (s *Service) open(stored Stored) (*Integration, error) {
	i := stored.Integration
	if len(stored.Sealed) > 0 {
		data, err := s.opts.Vault.Open(stored.Sealed, sealedAt(i.UUID))
		if err != nil {
			return nil, fmt.Errorf("open integration %s: %w", i.Key, err)
		}
		if i.Secrets, err = decodeSecrets(data); err != nil {
			return nil, fmt.Errorf("open integration %s: %w", i.Key, err)
		}
	}
	return &i, nil
}

func sealedAt(uuid string) vault.Context {
	return vault.Context{Table: "integrations", Column: "secrets", ID: uuid}
}
