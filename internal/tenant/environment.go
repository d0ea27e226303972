package tenant

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// productionName is the environment that is production by definition and can't be deleted.
const productionName = "prod"

// maxName bounds the names of environments and keys, in bytes.
const maxName = 255

var environmentName = regexp.MustCompile(`^[a-z0-9_-]+$`)

var errNotProduction = errs.New(http.StatusBadRequest, "invalid_is_prod_flag", "The environment prod is always a production environment")

// ErrAccountNotFound is for an account that does not exist.
var ErrAccountNotFound = errs.NotFound("The account does not exist")

type environmentStore interface {
	// InsertAccount and InsertEnvironment return the new id, or ErrConflict when the name is taken.
	InsertAccount(ctx context.Context, a Account) (int64, error)
	AccountByName(ctx context.Context, name string) (Account, error)
	InsertEnvironment(ctx context.Context, e Environment) (int64, error)
	EnvironmentByID(ctx context.Context, id int64) (Environment, error)
	EnvironmentByUUID(ctx context.Context, uuid string) (Environment, error)
	EnvironmentByName(ctx context.Context, accountID int64, name string) (Environment, error)
	Environments(ctx context.Context, accountID int64) ([]Environment, error)
	// DeleteEnvironment hides an environment and deletes its keys.
	DeleteEnvironment(ctx context.Context, e Environment, at time.Time) error
}

// NewEnvironment describes an environment to create.
type NewEnvironment struct {
	// Name has the form [a-z0-9_-]+, 255 bytes at most, and is unique within the account.
	Name string
	// Production: nil means that it is if its name is prod. It can't be false for prod.
	Production *bool
	// Settings are what differs from the defaults.
	Settings SettingsUpdate
}

type preparedEnvironment struct {
	environment Environment
	settings    StoredSettings
	update      StoredUpdate
	key         StoredKey
}

// CreateEnvironment creates an environment with its default settings, a signing key and one API key with full access.
func (s *Service) CreateEnvironment(ctx context.Context, accountID int64, in NewEnvironment) (Environment, error) {
	prepared, err := s.prepareEnvironment(in)
	if err != nil {
		return Environment{}, err
	}
	var created Environment
	err = s.write(ctx, func(ctx context.Context) error {
		var err error
		created, err = s.insertEnvironment(ctx, accountID, prepared)
		return err
	})
	if err != nil {
		return Environment{}, fmt.Errorf("create environment %s: %w", in.Name, err)
	}
	return created, nil
}

// prepareEnvironment checks and seals, so that the transaction only writes.
func (s *Service) prepareEnvironment(in NewEnvironment) (preparedEnvironment, error) {
	if !environmentName.MatchString(in.Name) || len(in.Name) > maxName {
		return preparedEnvironment{}, errs.Invalid("invalid_body", errs.Issue{
			Code: "invalid_format", Message: "Invalid string: must match pattern " + environmentName.String(), Path: []string{"name"},
		})
	}
	production := in.Name == productionName
	if in.Production != nil {
		if production && !*in.Production {
			return preparedEnvironment{}, errNotProduction
		}
		production = *in.Production
	}
	now := s.opts.Now()
	p := preparedEnvironment{environment: Environment{
		UUID: s.opts.NewUUID().String(), Name: in.Name, Production: production, CreatedAt: now, UpdatedAt: now,
	}}
	var err error
	if p.settings, err = s.defaultSettings(p.environment); err != nil {
		return p, err
	}
	if p.update, err = s.prepareUpdate(p.environment, in.Settings); err != nil {
		return p, err
	}
	p.key, _, err = s.newKey(Owner{}, NewKey{DisplayName: defaultKeyName})
	return p, err
}

func (s *Service) insertEnvironment(ctx context.Context, accountID int64, p preparedEnvironment) (Environment, error) {
	p.environment.AccountID = accountID
	var err error
	if p.environment.ID, err = s.opts.Store.InsertEnvironment(ctx, p.environment); err != nil {
		return p.environment, err
	}
	p.settings.Environment = p.environment
	if err := s.opts.Store.InsertSettings(ctx, p.settings); err != nil {
		return p.environment, err
	}
	if err := s.opts.Store.UpdateSettings(ctx, p.environment, p.update); err != nil {
		return p.environment, err
	}
	p.key.Owner = p.environment.Owner()
	p.key.Scopes = []string{ScopeEnvironment}
	_, err = s.opts.Store.InsertKey(ctx, p.key)
	return p.environment, err
}

// Environments lists the environments of an account, oldest first.
func (s *Service) Environments(ctx context.Context, accountID int64) ([]Environment, error) {
	return s.opts.Store.Environments(ctx, accountID)
}

// Environment finds an environment of the account by its id.
func (s *Service) Environment(ctx context.Context, accountID, id int64) (Environment, error) {
	return ofAccount(accountID)(s.opts.Store.EnvironmentByID(ctx, id))
}

// EnvironmentByUUID finds an environment of the account by its UUID.
func (s *Service) EnvironmentByUUID(ctx context.Context, accountID int64, uuid string) (Environment, error) {
	return ofAccount(accountID)(s.opts.Store.EnvironmentByUUID(ctx, uuid))
}

// EnvironmentByName finds an environment of the account by its name.
func (s *Service) EnvironmentByName(ctx context.Context, accountID int64, name string) (Environment, error) {
	return s.opts.Store.EnvironmentByName(ctx, accountID, name)
}

func ofAccount(accountID int64) func(Environment, error) (Environment, error) {
	return func(e Environment, err error) (Environment, error) {
		if err == nil && e.AccountID != accountID {
			err = ErrEnvironmentNotFound
		}
		if err != nil {
			return Environment{}, err
		}
		return e, nil
	}
}

// FindEnvironment finds an environment of any account: it is for URLs that carry the UUID, such as those of inbound webhooks.
func (s *Service) FindEnvironment(ctx context.Context, uuid string) (Environment, error) {
	now := s.opts.Now()
	if e, ok := s.environments.get(uuid, now); ok {
		return e, nil
	}
	generation := s.environments.begin()
	e, err := s.opts.Store.EnvironmentByUUID(ctx, uuid)
	if err != nil {
		return e, err
	}
	s.environments.put(generation, uuid, e, now)
	return e, nil
}

// DeleteEnvironment hides an environment and revokes its keys. The environment prod can't be deleted.
func (s *Service) DeleteEnvironment(ctx context.Context, accountID, id int64) error {
	e, err := s.Environment(ctx, accountID, id)
	if err != nil {
		return err
	}
	if e.Name == productionName {
		return errs.New(http.StatusBadRequest, "cannot_delete_prod_environment", "The environment prod can't be deleted")
	}
	err = s.write(ctx, func(ctx context.Context) error { return s.opts.Store.DeleteEnvironment(ctx, e, s.opts.Now()) })
	if err != nil {
		return fmt.Errorf("delete environment %d: %w", id, err)
	}
	return nil
}
