package tenant

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

const (
	// maxKeys is how many keys an environment, or an account, may have.
	maxKeys = 50
	// defaultKeyName is the key that a new environment has.
	defaultKeyName = "Default - Full access"
	// keyPurpose keeps the digests of API keys apart from those of other tokens.
	keyPurpose = "api_key"
)

type keyStore interface {
	// LockKeys makes others that want to lock the same owner's keys wait until the transaction ends, and counts them.
	LockKeys(ctx context.Context, owner Owner) (count int, err error)
	// InsertKey returns the new id, or ErrConflict when the display name is taken.
	InsertKey(ctx context.Context, k StoredKey) (int64, error)
	// Keys are in the order of their creation and without their sealed secrets.
	Keys(ctx context.Context, owner Owner) ([]Key, error)
	Key(ctx context.Context, owner Owner, ref KeyRef) (StoredKey, error)
	DeleteKey(ctx context.Context, owner Owner, ref KeyRef) error
	// KeyByHash finds a key of any owner that still exists. Environment is the zero one for a key of the account.
	KeyByHash(ctx context.Context, hash []byte) (StoredKey, Account, Environment, error)
	// TouchKey moves the time of last use forward.
	TouchKey(ctx context.Context, id int64, at time.Time) error
}

// Owner is what a key gives access to: an environment, or the account itself when EnvironmentID is 0.
type Owner struct{ AccountID, EnvironmentID int64 }

// Owner is the owner of the environment's keys.
func (e Environment) Owner() Owner { return Owner{AccountID: e.AccountID, EnvironmentID: e.ID} }

// Owner is the owner of the account's own keys.
func (a Account) Owner() Owner { return Owner{AccountID: a.ID} }

// KeyRef names a key by one of its ids; the other one is left zero.
type KeyRef struct {
	ID   int64
	UUID string
}

// Key is what may be shown of an API key.
type Key struct {
	ID          int64
	UUID        string
	Owner       Owner
	DisplayName string
	Scopes      []string
	CreatedAt   time.Time
	// LastUsedAt is zero if it never was used. Other nodes tell theirs once a minute.
	LastUsedAt time.Time
}

// StoredKey is a key as the database has it.
type StoredKey struct {
	Key

	Hash   []byte
	Sealed []byte
}

func keyPlace(id string) vault.Context {
	return vault.Context{Table: "api_keys", Column: "secret", ID: id}
}

// NewKey describes an API key to create.
type NewKey struct {
	// DisplayName has 1 to 255 characters and is unique for the owner.
	DisplayName string
	// Scopes: none means full access to what the owner is.
	Scopes []string
}

func (in NewKey) check(owner Owner) error {
	issues := checkScopes(in.Scopes, owner.EnvironmentID == 0)
	path := []string{"display_name"}
	issues = append(issues, checkLength(in.DisplayName, maxName, path)...)
	if !utf8.ValidString(in.DisplayName) || strings.ContainsRune(in.DisplayName, 0) { // PostgreSQL stores neither
		issues = append(issues, errs.Issue{Code: "custom", Message: "The name has characters that are not text", Path: path})
	}
	return invalid(issues)
}

// newKey makes a random key without storing it.
func (s *Service) newKey(owner Owner, in NewKey) (StoredKey, secret.Text, error) {
	id := s.opts.NewUUID()
	k := StoredKey{Key: Key{
		UUID: s.opts.NewUUID().String(), Owner: owner, DisplayName: in.DisplayName, Scopes: in.Scopes, CreatedAt: s.opts.Now(),
	}}
	var err error
	k.Sealed, err = s.opts.Vault.Seal([]byte(id.String()), keyPlace(k.UUID))
	k.Hash = s.hash(id)
	return k, secret.New(id.String()), err
}

func (s *Service) hash(key uuid.UUID) []byte { return s.opts.Vault.Hash(keyPurpose, key[:]) }

// CreateKey makes an API key and returns it with its secret.
func (s *Service) CreateKey(ctx context.Context, owner Owner, in NewKey) (Key, secret.Text, error) {
	if err := in.check(owner); err != nil {
		return Key{}, secret.Text{}, err
	}
	if len(in.Scopes) == 0 {
		in.Scopes = []string{namespace(owner.EnvironmentID == 0) + "*"}
	}
	k, text, err := s.newKey(owner, in)
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	// Nobody is notified: that a key is unknown is not cached.
	err = s.opts.Store.Write(ctx, func(ctx context.Context) error {
		count, err := s.opts.Store.LockKeys(ctx, owner)
		if err != nil {
			return err
		}
		if count >= maxKeys {
			return errs.Newf(http.StatusBadRequest, "resource_capped", "There can be %d API keys at most: delete one first", maxKeys)
		}
		k.ID, err = s.opts.Store.InsertKey(ctx, k)
		return err
	})
	if err != nil {
		return Key{}, secret.Text{}, fmt.Errorf("create an API key: %w", err)
	}
	return k.Key, text, nil
}

// Keys lists the API keys of an owner, oldest first.
func (s *Service) Keys(ctx context.Context, owner Owner) ([]Key, error) {
	keys, err := s.opts.Store.Keys(ctx, owner)
	for i := range keys {
		s.addUsage(&keys[i])
	}
	return keys, err
}

// RevealKey gives a key with its secret.
func (s *Service) RevealKey(ctx context.Context, owner Owner, ref KeyRef) (Key, secret.Text, error) {
	k, err := s.opts.Store.Key(ctx, owner, ref)
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	text, err := s.opts.Vault.Open(k.Sealed, keyPlace(k.UUID))
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	s.addUsage(&k.Key)
	return k.Key, secret.New(string(text)), nil
}

// RevokeKey deletes a key. When it returns this process refuses the key, and the others are being told.
func (s *Service) RevokeKey(ctx context.Context, owner Owner, ref KeyRef) error {
	err := s.write(ctx, func(ctx context.Context) error { return s.opts.Store.DeleteKey(ctx, owner, ref) })
	if err != nil {
		return fmt.Errorf("revoke an API key: %w", err)
	}
	return nil
}
