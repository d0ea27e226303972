package tenant

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// topic carries the news that something cached here has changed.
const topic = "tenant"

var (
	// ErrEnvironmentNotFound is for an environment that does not exist, was deleted, or belongs to another account.
	ErrEnvironmentNotFound = errs.NotFound("The environment does not exist")
	// ErrKeyNotFound is the same for an API key.
	ErrKeyNotFound = errs.NotFound("The API key does not exist")
	// ErrConflict is for a name that is taken.
	ErrConflict = errs.New(http.StatusConflict, "conflict", "The name is already in use")
)

// Account is the owner of environments. There is one, "default", from the first start.
type Account struct {
	ID        int64
	UUID      string
	Name      string
	CreatedAt time.Time
}

// Environment is where everything else lives. Its ID is what other domains store.
type Environment struct {
	ID         int64
	UUID       string
	AccountID  int64
	Name       string
	Production bool
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Store keeps what this package knows; a method that finds no row returns the ErrNotFound of its kind.
type Store interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
	Listen(topic string, deliver func(payload string)) (cancel func())
	Notify(ctx context.Context, topic, payload string) error

	environmentStore
	keyStore
	settingsStore
}

// Sealer is the vault.
type Sealer interface {
	Seal(plaintext []byte, c vault.Context) ([]byte, error)
	Open(sealed []byte, c vault.Context) ([]byte, error)
	Hash(purpose string, value []byte) []byte
}

// URLChecker says whether the server may connect to a URL, without connecting.
type URLChecker interface {
	CheckURL(raw string) (*url.URL, error)
}

// Options configure a Service.
type Options struct {
	Store Store
	Vault Sealer
	URLs  URLChecker
	// AllowHTTP lets production environments have webhook URLs without TLS.
	AllowHTTP bool
	// Variables are environment variables, of which PATCHBAY_SECRET_KEY_<ENVIRONMENT> and NANGO_SECRET_KEY_<ENVIRONMENT> are
	// operator's keys: version 4 UUIDs with full access to the environment of that name (in any case) of the default account.
	// They have no row and work as long as the variable is set. Other variables are ignored.
	Variables map[string]string
	Logger    *slog.Logger     // nil: slog.Default
	Now       func() time.Time // nil: time.Now
	NewUUID   func() uuid.UUID // nil: random (version 4)
}

// Service is the door to accounts, environments, keys and settings. It is safe for concurrent use.
//
// It is a lifecycle.Service: started, it writes the times at which keys were used once a minute, and when it stops.
type Service struct {
	*lifecycle.Loop

	opts          Options
	salt          [32]byte
	operatorKeys  map[tokenDigest]operatorKey
	keys          cache[tokenDigest, *knownKey]
	settings      cache[int64, Settings]
	environments  cache[string, Environment]
	usage         sync.Map // key id -> *keyUsage
	stopListening func()
}

// New makes a service. A key variable that holds no version 4 UUID is an error.
func New(opts Options) (*Service, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.NewUUID == nil {
		opts.NewUUID = uuid.New
	}
	s := &Service{opts: opts}
	_, _ = rand.Read(s.salt[:]) // never fails
	operatorKeys, err := readOperatorKeys(opts.Variables)
	if err != nil {
		return nil, err
	}
	s.operatorKeys = make(map[tokenDigest]operatorKey, len(operatorKeys))
	for _, key := range operatorKeys {
		s.operatorKeys[s.digest(key.id)] = key
	}
	s.Loop = lifecycle.NewLoop("tenant", opts.Logger, s.run)
	s.stopListening = opts.Store.Listen(topic, func(string) { s.forget() })
	return s, nil
}

// forget empties the caches. What changes here changes seldom, so no note says what it was.
func (s *Service) forget() {
	s.keys.clear()
	s.settings.clear()
	s.environments.clear()
}

// Stop implements lifecycle.Service.
func (s *Service) Stop(ctx context.Context) error {
	s.stopListening()
	return s.Loop.Stop(ctx)
}

// write runs fn in a transaction and tells every process when it commits.
func (s *Service) write(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.opts.Store.Write(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return s.opts.Store.Notify(ctx, topic, "")
	})
}

// DefaultAccount is the name of the account that the first start creates.
const DefaultAccount = "default"

// Bootstrap creates the default account with the environments dev and prod, unless it exists, and returns it. Several nodes may
// start at once.
func (s *Service) Bootstrap(ctx context.Context) (Account, error) {
	account, err := s.opts.Store.AccountByName(ctx, DefaultAccount)
	if !errors.Is(err, ErrAccountNotFound) {
		return account, err
	}
	account = Account{UUID: s.opts.NewUUID().String(), Name: DefaultAccount, CreatedAt: s.opts.Now()}
	dev, err := s.prepareEnvironment(NewEnvironment{Name: "dev"})
	if err != nil {
		return account, err
	}
	prod, err := s.prepareEnvironment(NewEnvironment{Name: productionName})
	if err != nil {
		return account, err
	}
	err = s.write(ctx, func(ctx context.Context) error {
		var err error
		if account.ID, err = s.opts.Store.InsertAccount(ctx, account); err != nil {
			return err
		}
		for _, prepared := range []preparedEnvironment{dev, prod} {
			if _, err := s.insertEnvironment(ctx, account.ID, prepared); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrConflict) { // another node was faster
		return s.opts.Store.AccountByName(ctx, DefaultAccount)
	}
	if err != nil {
		return account, fmt.Errorf("create the default account: %w", err)
	}
	return account, nil
}
