package connection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Errors a client may see. Routes that must answer otherwise translate them (a delete answers 400, for example).
var (
	ErrNotFound    = errs.NotFound("Connection not found")
	ErrTooManyTags = errs.New(http.StatusBadRequest, "invalid_body", fmt.Sprintf("A connection can have at most %d tags", MaxTags))
)

// ErrDuplicate is what a Store returns when the integration has a connection of that id.
var ErrDuplicate = errors.New("connection id exists")

// Store keeps connections. Every method is bound to one environment or to an id that was read from one.
type Store interface {
	StoreReader
	StoreWriter
}

// StoreReader finds connections.
type StoreReader interface {
	// Get gives ErrNotFound for a connection of another environment.
	Get(ctx context.Context, environmentID, integrationID int64, connectionID string) (Stored, error)
	GetByID(ctx context.Context, environmentID, id int64) (Stored, error)
	// Lock is GetByID for a row that is about to be changed: others who do the same wait until the transaction ends.
	Lock(ctx context.Context, environmentID, id int64) (Stored, error)
	// List is sorted by creation, newest first. It does not read credentials.
	List(ctx context.Context, environmentID int64, filter Filter) ([]Stored, error)
}

// StoreWriter changes them.
type StoreWriter interface {
	// Insert gives ErrDuplicate when another one was quicker.
	Insert(ctx context.Context, c Stored) (id int64, err error)
	// Replace overwrites everything but the identity, clears the errors and the refresh state with its lease, and gives the
	// version, which is one more than the stored one. Nobody else changes the row until the transaction ends.
	Replace(ctx context.Context, c Stored) (version int64, err error)
	// Patch stores tags, end user, URL override and metadata.
	Patch(ctx context.Context, c Stored) error
	SetErrors(ctx context.Context, environmentID, id int64, active []ActiveError, now time.Time) error
	Delete(ctx context.Context, environmentID, id int64) (deleted bool, err error)
	// Touch raises last_fetched_at of several connections.
	Touch(ctx context.Context, fetched map[int64]time.Time) error
}

// Tx runs a closure in a transaction of the control plane.
type Tx interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
}

// Operation tells a hook what happened.
type Operation string

// The operations; they are also the words of the auth webhook.
const (
	Creation Operation = "creation"
	Override Operation = "override"
)

// Hooks are told of changes inside the transaction that makes them, so what they write is true together with it. An error
// undoes the change.
type Hooks interface {
	Stored(ctx context.Context, c *Connection, operation Operation) error
	Deleted(ctx context.Context, c *Connection) error
}

// Options of New. Store, Tx and Vault are required.
type Options struct {
	Store Store
	Tx    Tx
	Vault *vault.Vault
	Hooks []Hooks
	Now   func() time.Time
}

// Service is the rules of connections.
type Service struct {
	opts    Options
	toucher toucher
}

// New makes a Service. Start its background part with Start.
func New(opts Options) *Service {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Service{opts: opts, toucher: toucher{store: opts.Store}}
}

// Get finds a connection and opens its credentials as they are stored; package refresh makes them fresh.
func (s *Service) Get(ctx context.Context, i *integration.Integration, connectionID string) (*Connection, error) {
	stored, err := s.opts.Store.Get(ctx, i.EnvironmentID, i.ID, connectionID)
	if err != nil {
		return nil, err
	}
	return s.open(stored, i)
}

// GetByID is Get by the internal id.
func (s *Service) GetByID(ctx context.Context, environmentID, id int64) (*Connection, error) {
	stored, err := s.opts.Store.GetByID(ctx, environmentID, id)
	if err != nil {
		return nil, err
	}
	return s.open(stored, nil)
}

// List gives connections without credentials, newest first.
func (s *Service) List(ctx context.Context, environmentID int64, filter Filter) ([]Connection, error) {
	stored, err := s.opts.Store.List(ctx, environmentID, filter)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	all := make([]Connection, len(stored))
	for i := range stored {
		all[i] = stored[i].Connection
	}
	return all, nil
}

// Import stores a connection whose credentials the caller has. One of the same id is replaced: all that the input may carry
// is overwritten, only the row's identity and, when the input has none, its end user stay.
func (s *Service) Import(ctx context.Context, i *integration.Integration, c Connection) (*Connection, Operation, error) {
	if len(c.Tags) > MaxTags {
		return nil, "", ErrTooManyTags
	}
	if c.ConnectionID == "" {
		c.ConnectionID = uuid.NewString()
	}
	if c.Config == nil {
		c.Config = json.RawMessage("{}")
	}
	c.EnvironmentID, c.IntegrationID, c.IntegrationKey, c.Provider = i.EnvironmentID, i.ID, i.Key, i.Provider
	operation, err := s.store(ctx, i, &c)
	if errors.Is(err, ErrDuplicate) { // somebody created it between the look and the insert
		operation, err = s.store(ctx, i, &c)
	}
	if err != nil {
		return nil, "", fmt.Errorf("store connection %s: %w", c.ConnectionID, err)
	}
	return &c, operation, nil
}

// store creates or replaces c, and fills in what is known only then.
func (s *Service) store(ctx context.Context, i *integration.Integration, c *Connection) (operation Operation, err error) {
	given := c.EndUser
	err = s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		now := s.opts.Now().UTC()
		c.UpdatedAt, c.LastFetchedAt, c.Errors, c.Refresh, c.EndUser = now, now, nil, RefreshState{}, given
		old, err := s.opts.Store.Get(ctx, i.EnvironmentID, i.ID, c.ConnectionID)
		switch {
		case errors.Is(err, ErrNotFound):
			operation = Creation
			c.UUID, c.CreatedAt, c.Version = uuid.NewString(), now, 1
		case err != nil:
			return err
		default:
			operation = Override
			c.ID, c.UUID, c.CreatedAt = old.ID, old.UUID, old.CreatedAt
			if c.EndUser == nil {
				c.EndUser = old.EndUser
			}
		}
		stored, err := s.Seal(*c)
		if err != nil {
			return err
		}
		if operation == Creation {
			c.ID, err = s.opts.Store.Insert(ctx, stored)
		} else {
			c.Version, err = s.opts.Store.Replace(ctx, stored)
		}
		if err != nil {
			return err
		}
		for _, hook := range s.opts.Hooks {
			if err := hook.Stored(ctx, c, operation); err != nil {
				return err
			}
		}
		return nil
	})
	return operation, err
}

// Patch is a change of what the app owns. Nil fields stay.
type Patch struct {
	EndUser            *EndUser
	Tags               map[string]string
	WebhookURLOverride *string
}

// Patch changes a connection. Tags are replaced by those derived from the end user and those given, when either is given.
func (s *Service) Patch(ctx context.Context, i *integration.Integration, connectionID string, p Patch) error {
	return s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		stored, err := s.lock(ctx, i, connectionID)
		if err != nil {
			return err
		}
		if p.EndUser != nil {
			stored.EndUser = p.EndUser
		}
		if p.EndUser != nil || p.Tags != nil {
			stored.Tags = TagsFrom(p.EndUser, p.Tags)
		}
		if len(stored.Tags) > MaxTags {
			return ErrTooManyTags
		}
		if p.WebhookURLOverride != nil {
			stored.WebhookURLOverride = *p.WebhookURLOverride
		}
		stored.UpdatedAt = s.opts.Now().UTC()
		return s.opts.Store.Patch(ctx, stored)
	})
}

// SetMetadata replaces the metadata of several connections, or, with merge, lays metadata's members over theirs. If one
// connection is missing nothing changes.
func (s *Service) SetMetadata(ctx context.Context, i *integration.Integration, connectionIDs []string, metadata json.RawMessage, merge bool) error {
	ids := slices.Sorted(slices.Values(connectionIDs)) // in one order, so that two callers never wait for each other
	return s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		for _, id := range ids {
			stored, err := s.lock(ctx, i, id)
			if err != nil {
				return err
			}
			next := metadata
			if merge {
				if next, err = mergeObjects(stored.Metadata, metadata); err != nil {
					return err
				}
			}
			stored.Metadata, stored.UpdatedAt = next, s.opts.Now().UTC()
			if err := s.opts.Store.Patch(ctx, stored); err != nil {
				return err
			}
		}
		return nil
	})
}

// lock reads a connection that is about to be changed.
func (s *Service) lock(ctx context.Context, i *integration.Integration, connectionID string) (Stored, error) {
	found, err := s.opts.Store.Get(ctx, i.EnvironmentID, i.ID, connectionID)
	if err != nil {
		return found, err
	}
	return s.opts.Store.Lock(ctx, found.EnvironmentID, found.ID)
}

func mergeObjects(old, change json.RawMessage) (json.RawMessage, error) {
	merged := map[string]json.RawMessage{}
	for _, part := range []json.RawMessage{old, change} {
		if len(part) == 0 || bytes.Equal(part, []byte("null")) {
			continue
		}
		if err := json.Unmarshal(part, &merged); err != nil {
			return nil, fmt.Errorf("merge metadata: %w", err)
		}
	}
	return mustMarshal(merged), nil
}

// Delete removes a connection and reports whether there was one.
func (s *Service) Delete(ctx context.Context, i *integration.Integration, connectionID string) (bool, error) {
	deleted := false
	err := s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		stored, err := s.opts.Store.Get(ctx, i.EnvironmentID, i.ID, connectionID)
		if err != nil {
			return err
		}
		c, err := s.open(stored, i)
		if err != nil {
			return err
		}
		return s.delete(ctx, c, &deleted)
	})
	return deleted, err
}

// DeleteAll removes every connection of an integration, inside the caller's transaction.
func (s *Service) DeleteAll(ctx context.Context, i integration.Integration) error {
	for {
		stored, err := s.opts.Store.List(ctx, i.EnvironmentID, Filter{Integrations: []string{i.Key}, Limit: deleteBatch})
		if err != nil {
			return err
		}
		for _, one := range stored {
			if err := s.delete(ctx, &one.Connection, new(bool)); err != nil {
				return err
			}
		}
		if len(stored) < deleteBatch {
			return nil
		}
	}
}

// deleteBatch bounds what DeleteAll holds in memory.
const deleteBatch = 1000

func (s *Service) delete(ctx context.Context, c *Connection, deleted *bool) error {
	for _, hook := range s.opts.Hooks {
		if err := hook.Deleted(ctx, c); err != nil {
			return fmt.Errorf("delete connection %s: %w", c.ConnectionID, err)
		}
	}
	var err error
	*deleted, err = s.opts.Store.Delete(ctx, c.EnvironmentID, c.ID)
	return err
}

// SetError marks a connection as failing; the same type and source replaces the earlier mark. It reports whether there was none.
func (s *Service) SetError(ctx context.Context, environmentID, id int64, e ActiveError) (first bool, err error) {
	err = s.changeErrors(ctx, environmentID, id, func(active []ActiveError) []ActiveError {
		kept := slices.DeleteFunc(slices.Clone(active), func(a ActiveError) bool { return a.Type == e.Type && a.Source == e.Source })
		first = len(kept) == len(active)
		return append(kept, e)
	})
	return first, err
}

// ClearError removes the mark of a type and source. It reports whether there was one.
func (s *Service) ClearError(ctx context.Context, environmentID, id int64, errorType, source string) (cleared bool, err error) {
	err = s.changeErrors(ctx, environmentID, id, func(active []ActiveError) []ActiveError {
		kept := slices.DeleteFunc(slices.Clone(active), func(a ActiveError) bool { return a.Type == errorType && a.Source == source })
		cleared = len(kept) < len(active)
		return kept
	})
	return cleared, err
}

func (s *Service) changeErrors(ctx context.Context, environmentID, id int64, change func([]ActiveError) []ActiveError) error {
	return s.opts.Tx.Write(ctx, func(ctx context.Context) error {
		stored, err := s.opts.Store.Lock(ctx, environmentID, id)
		if err != nil {
			return err
		}
		next := change(stored.Errors)
		if slices.Equal(next, stored.Errors) {
			return nil
		}
		return s.opts.Store.SetErrors(ctx, environmentID, id, next, s.opts.Now().UTC())
	})
}

// Sealing of a row's two secret columns.
func sealedCredentials(uuid string) vault.Context {
	return vault.Context{Table: "connections", Column: "credentials", ID: uuid}
}

func sealedConfig(uuid string) vault.Context {
	return vault.Context{Table: "connections", Column: "config", ID: uuid}
}

// Seal seals the credentials and the configuration of a connection that has its UUID.
func (s *Service) Seal(c Connection) (Stored, error) {
	credentials, err := s.opts.Vault.Seal(c.Credentials.JSON(), sealedCredentials(c.UUID))
	if err != nil {
		return Stored{}, fmt.Errorf("seal credentials: %w", err)
	}
	config, err := s.opts.Vault.Seal(c.Config, sealedConfig(c.UUID))
	if err != nil {
		return Stored{}, fmt.Errorf("seal connection_config: %w", err)
	}
	return Stored{Connection: c, SealedCredentials: credentials, SealedConfig: config, ExpiresAt: c.Credentials.renewalDue()}, nil
}

func (s *Service) open(stored Stored, i *integration.Integration) (*Connection, error) {
	c := stored.Connection
	credentials, err := s.opts.Vault.Open(stored.SealedCredentials, sealedCredentials(c.UUID))
	if err != nil {
		return nil, fmt.Errorf("open credentials of connection %d: %w", c.ID, err)
	}
	if c.Credentials, err = ParseCredentials(credentials); err != nil {
		return nil, fmt.Errorf("connection %d: %w", c.ID, err)
	}
	if c.Config, err = s.opts.Vault.Open(stored.SealedConfig, sealedConfig(c.UUID)); err != nil {
		return nil, fmt.Errorf("open connection_config of connection %d: %w", c.ID, err)
	}
	if i != nil {
		c.IntegrationKey, c.Provider = i.Key, i.Provider
	}
	return &c, nil
}
