package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

type settingsStore interface {
	InsertSettings(ctx context.Context, s StoredSettings) error
	Settings(ctx context.Context, environmentID int64) (StoredSettings, error)
	UpdateSettings(ctx context.Context, e Environment, u StoredUpdate) error
	// SwapSigningKey stores the signing keys of s and increments the version; false if the stored version is not that of s.
	SwapSigningKey(ctx context.Context, s StoredSettings, at time.Time) (bool, error)
	// Variables is nil when none were set.
	Variables(ctx context.Context, e Environment) ([]byte, error)
	SetVariables(ctx context.Context, e Environment, sealed []byte, at time.Time) error
}

// Notifications are the switches for webhooks to the app. Each is on by default.
type Notifications struct {
	OnAuthCreation          bool
	OnAuthRefreshError      bool
	OnSyncCompletionAlways  bool // also when a sync changed nothing
	OnSyncError             bool
	OnAsyncActionCompletion bool
	// ForwardWebhooks passes on the webhooks of third parties, unless their integration says no.
	ForwardWebhooks bool
}

// Settings are what an environment is set to. The slices are shared and must not be changed.
type Settings struct {
	Environment Environment
	// PrimaryURL and SecondaryURL get the webhooks to the app; empty when there is none.
	PrimaryURL, SecondaryURL string
	Notifications            Notifications
	// SigningKey signs webhooks: a random UUID.
	SigningKey secret.Text
	// PreviousSigningKey may sign besides it until PreviousUntil; empty when there is none.
	PreviousSigningKey secret.Text
	PreviousUntil      time.Time
	// CallbackURL is where third parties send the browser back to; empty means the server's own.
	CallbackURL string
	// OTLPEndpoint gets the environment's traces, with OTLPHeaders; empty when it is off.
	OTLPEndpoint string
	OTLPHeaders  []Variable
	// RetentionDays is how long operations and their messages are kept; 0 means what the server is set to.
	RetentionDays int
}

// SigningKeys are the keys that a webhook may be signed with at the given time, the current one first.
func (s *Settings) SigningKeys(now time.Time) []secret.Text {
	if s.PreviousSigningKey.IsEmpty() || !now.Before(s.PreviousUntil) {
		return []secret.Text{s.SigningKey}
	}
	return []secret.Text{s.SigningKey, s.PreviousSigningKey}
}

// StoredSettings are settings as the database has them: secrets are sealed, nil when there are none.
type StoredSettings struct {
	Environment        Environment
	PrimaryURL         string
	SecondaryURL       string
	Notifications      Notifications
	CallbackURL        string
	OTLPEndpoint       string
	OTLPHeaders        []byte
	RetentionDays      int
	SigningKey         []byte
	SigningKeyVersion  int64
	PreviousSigningKey []byte
	PreviousUntil      time.Time
	UpdatedAt          time.Time
}

// The sealed columns of the settings; their rows are identified by the UUID of the environment.
const (
	columnSigningKey         = "signing_key"
	columnPreviousSigningKey = "previous_signing_key"
	columnOTLPHeaders        = "otlp_headers"
	columnVariables          = "variables"
)

func settingsPlace(e Environment, column string) vault.Context {
	return vault.Context{Table: "environment_settings", Column: column, ID: e.UUID}
}

func (s *Service) defaultSettings(e Environment) (StoredSettings, error) {
	key := s.opts.NewUUID().String()
	sealed, err := s.opts.Vault.Seal([]byte(key), settingsPlace(e, columnSigningKey))
	return StoredSettings{
		Environment:   e,
		Notifications: Notifications{true, true, true, true, true, true},
		SigningKey:    sealed, SigningKeyVersion: 1, UpdatedAt: e.CreatedAt,
	}, err
}

// Settings gives the settings of an environment, at the latest as they were when the last notification came in.
func (s *Service) Settings(ctx context.Context, environmentID int64) (Settings, error) {
	now := s.opts.Now()
	if settings, ok := s.settings.get(environmentID, now); ok {
		return settings, nil
	}
	generation := s.settings.begin()
	stored, err := s.opts.Store.Settings(ctx, environmentID)
	if err != nil {
		return Settings{}, err
	}
	settings, err := s.openSettings(stored)
	if err != nil {
		return Settings{}, fmt.Errorf("settings of environment %d: %w", environmentID, err)
	}
	s.settings.put(generation, environmentID, settings, now)
	return settings, nil
}

func (s *Service) openSettings(stored StoredSettings) (Settings, error) {
	settings := Settings{
		Environment: stored.Environment, PrimaryURL: stored.PrimaryURL, SecondaryURL: stored.SecondaryURL,
		Notifications: stored.Notifications, PreviousUntil: stored.PreviousUntil, CallbackURL: stored.CallbackURL,
		OTLPEndpoint: stored.OTLPEndpoint, RetentionDays: stored.RetentionDays,
	}
	key, err := s.open(stored.SigningKey, stored.Environment, columnSigningKey)
	if err != nil {
		return settings, err
	}
	previous, err := s.open(stored.PreviousSigningKey, stored.Environment, columnPreviousSigningKey)
	if err != nil {
		return settings, err
	}
	settings.SigningKey, settings.PreviousSigningKey = secret.New(string(key)), secret.New(string(previous))
	settings.OTLPHeaders, err = s.openVariables(stored.OTLPHeaders, stored.Environment, columnOTLPHeaders)
	return settings, err
}

// open gives nil for what is not there.
func (s *Service) open(sealed []byte, e Environment, column string) ([]byte, error) {
	if sealed == nil {
		return nil, nil
	}
	return s.opts.Vault.Open(sealed, settingsPlace(e, column))
}

// DefaultSigningKeyOverlap is how long the previous signing key is kept: a day is enough to deploy the new one.
const DefaultSigningKeyOverlap = 24 * time.Hour

// rotateTries bounds how often a rotation starts anew because another one came between.
const rotateTries = 20

// RotateSigningKey makes a new signing key and returns it. The old one is kept as the previous key for the overlap; 0 drops it.
func (s *Service) RotateSigningKey(ctx context.Context, e Environment, overlap time.Duration) (secret.Text, error) {
	for range rotateTries {
		key, done, err := s.rotateSigningKey(ctx, e, overlap)
		if err != nil {
			return secret.Text{}, fmt.Errorf("rotate the signing key of environment %d: %w", e.ID, err)
		}
		if done {
			return key, nil
		}
	}
	return secret.Text{}, fmt.Errorf("rotate the signing key of environment %d: others rotate it all the time", e.ID)
}

func (s *Service) rotateSigningKey(ctx context.Context, e Environment, overlap time.Duration) (_ secret.Text, done bool, _ error) {
	stored, err := s.storedSettings(ctx, e)
	if err != nil {
		return secret.Text{}, false, err
	}
	old, err := s.open(stored.SigningKey, e, columnSigningKey)
	if err != nil {
		return secret.Text{}, false, err
	}
	now := s.opts.Now()
	stored.PreviousSigningKey, stored.PreviousUntil = nil, time.Time{}
	if overlap > 0 {
		if stored.PreviousSigningKey, err = s.opts.Vault.Seal(old, settingsPlace(e, columnPreviousSigningKey)); err != nil {
			return secret.Text{}, false, err
		}
		stored.PreviousUntil = now.Add(overlap)
	}
	key := s.opts.NewUUID().String()
	if stored.SigningKey, err = s.opts.Vault.Seal([]byte(key), settingsPlace(e, columnSigningKey)); err != nil {
		return secret.Text{}, false, err
	}
	err = s.write(ctx, func(ctx context.Context) error {
		var err error
		done, err = s.opts.Store.SwapSigningKey(ctx, stored, now)
		return err
	})
	return secret.New(key), done, err
}

// storedSettings reads past the cache and checks the account.
func (s *Service) storedSettings(ctx context.Context, e Environment) (StoredSettings, error) {
	stored, err := s.opts.Store.Settings(ctx, e.ID)
	if err == nil && (stored.Environment.AccountID != e.AccountID || stored.Environment.UUID != e.UUID) {
		err = ErrEnvironmentNotFound
	}
	return stored, err
}

// Variable is a name with a value that is kept secret.
type Variable struct {
	Name  string
	Value secret.Text
}

// sealedVariable is how a Variable is written under the seal.
type sealedVariable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (s *Service) sealVariables(variables []Variable, e Environment, column string) ([]byte, error) {
	plain := make([]sealedVariable, len(variables))
	for i, v := range variables {
		plain[i] = sealedVariable{v.Name, v.Value.Reveal()}
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", column, err)
	}
	return s.opts.Vault.Seal(text, settingsPlace(e, column))
}

func (s *Service) openVariables(sealed []byte, e Environment, column string) ([]Variable, error) {
	text, err := s.open(sealed, e, column)
	if err != nil || text == nil {
		return nil, err
	}
	var plain []sealedVariable
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, fmt.Errorf("decode %s: %w", column, err)
	}
	variables := make([]Variable, len(plain))
	for i, v := range plain {
		variables[i] = Variable{v.Name, secret.New(v.Value)}
	}
	return variables, nil
}

// Variables gives the variables that functions of the environment can read, in the order in which they were set.
func (s *Service) Variables(ctx context.Context, e Environment) ([]Variable, error) {
	sealed, err := s.opts.Store.Variables(ctx, e)
	if err != nil {
		return nil, err
	}
	return s.openVariables(sealed, e, columnVariables)
}

// SetVariables replaces all variables: 100 at most, each name once, names of 1 to 256 and values of 1 to 4,000 characters.
func (s *Service) SetVariables(ctx context.Context, e Environment, variables []Variable) error {
	if err := invalid(checkVariables(variables, "variables")); err != nil {
		return err
	}
	sealed, err := s.sealVariables(variables, e, columnVariables)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(ctx context.Context) error { return s.opts.Store.SetVariables(ctx, e, sealed, s.opts.Now()) })
	if err != nil {
		return fmt.Errorf("set the variables of environment %d: %w", e.ID, err)
	}
	return nil
}
