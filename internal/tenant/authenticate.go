package tenant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	// flushUsageEvery is how often the times of last use are written.
	flushUsageEvery = time.Minute
	// usageGrain: a busy key's time is noted once a second at most, so that the processors don't fight for it.
	usageGrain = time.Second
	// lastFlushTimeout bounds the write when the service stops.
	lastFlushTimeout = 5 * time.Second
)

// tokenDigest stands for a key in the cache: SHA-256 over a random salt of this process and the key. Neither the time that a
// look in the map takes nor the map itself tells anything of the keys in it.
type tokenDigest [sha256.Size]byte

func (s *Service) digest(key uuid.UUID) tokenDigest {
	var input [len(s.salt) + len(key)]byte
	copy(input[:], s.salt[:])
	copy(input[len(s.salt):], key[:])
	return sha256.Sum256(input[:])
}

// knownKey is a key that was found.
type knownKey struct {
	principal Principal
	usage     *keyUsage // nil for an operator's key
}

// Authenticate finds who a token belongs to. What is wrong with the token is an *errs.Error with status 401; any other error
// is a fault of the server and says nothing about the token.
func (s *Service) Authenticate(ctx context.Context, token string) (Principal, error) {
	if token == "" {
		return Principal{}, ErrMalformedHeader
	}
	id, ok := parseKey(token)
	if !ok {
		return Principal{}, ErrKeyFormat
	}
	now := s.opts.Now()
	digest := s.digest(id)
	known, ok := s.keys.get(digest, now)
	if !ok {
		var err error
		generation := s.keys.begin()
		if known, err = s.find(ctx, id, digest); err != nil {
			return Principal{}, err
		}
		s.keys.put(generation, digest, known, now)
	}
	if known.usage != nil {
		known.usage.note(now)
	}
	return known.principal, nil
}

func (s *Service) find(ctx context.Context, id uuid.UUID, digest tokenDigest) (*knownKey, error) {
	if operator, ok := s.operatorKeys[digest]; ok {
		return s.findOperator(ctx, operator)
	}
	hash := s.hash(id)
	k, account, environment, err := s.opts.Store.KeyByHash(ctx, hash)
	if errors.Is(err, ErrKeyNotFound) {
		return nil, ErrUnknownKey
	}
	if err != nil {
		return nil, fmt.Errorf("look up an API key: %w", err)
	}
	if subtle.ConstantTimeCompare(hash, k.Hash) != 1 {
		return nil, ErrUnknownKey
	}
	return &knownKey{
		principal: Principal{Account: account, Environment: environment, KeyID: k.ID, KeyName: k.DisplayName, Scopes: k.Scopes},
		usage:     s.usageOf(k.ID),
	}, nil
}

func (s *Service) findOperator(ctx context.Context, key operatorKey) (*knownKey, error) {
	account, err := s.opts.Store.AccountByName(ctx, DefaultAccount)
	if err != nil {
		return nil, fmt.Errorf("look up the key of %s: %w", key.variable, err)
	}
	environment, err := s.opts.Store.EnvironmentByName(ctx, account.ID, key.environment)
	if errors.Is(err, ErrEnvironmentNotFound) {
		return nil, ErrUnknownKey
	}
	if err != nil {
		return nil, fmt.Errorf("look up the key of %s: %w", key.variable, err)
	}
	return &knownKey{principal: Principal{
		Account: account, Environment: environment, KeyName: key.variable, Scopes: []string{ScopeEnvironment},
	}}, nil
}

// keyUsage is when a key was last used, in microseconds since 1970; 0 once that was written.
type keyUsage struct{ last atomic.Int64 }

func (u *keyUsage) note(now time.Time) {
	if micros := now.UnixMicro(); micros-u.last.Load() >= usageGrain.Microseconds() {
		u.last.Store(micros)
	}
}

func (s *Service) usageOf(id int64) *keyUsage {
	u, _ := s.usage.LoadOrStore(id, &keyUsage{})
	return u.(*keyUsage)
}

// addUsage adds what was not written yet.
func (s *Service) addUsage(k *Key) {
	if u, ok := s.usage.Load(k.ID); ok {
		if micros := u.(*keyUsage).last.Load(); micros > k.LastUsedAt.UnixMicro() {
			k.LastUsedAt = time.UnixMicro(micros).UTC()
		}
	}
}

func (s *Service) run(ctx context.Context) error {
	ticker := time.NewTicker(flushUsageEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.FlushUsage(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlushTimeout)
			defer cancel()
			return s.FlushUsage(ctx)
		}
	}
}

// FlushUsage writes when keys were last used. A started service does so by itself.
func (s *Service) FlushUsage(ctx context.Context) error {
	used := map[int64]int64{}
	s.usage.Range(func(id, u any) bool {
		if micros := u.(*keyUsage).last.Swap(0); micros != 0 {
			used[id.(int64)] = micros
		}
		return true
	})
	if len(used) == 0 {
		return nil
	}
	err := s.opts.Store.Write(ctx, func(ctx context.Context) error {
		for _, id := range slices.Sorted(maps.Keys(used)) { // in one order on all nodes, so that they don't lock each other out
			micros := used[id]
			if err := s.opts.Store.TouchKey(ctx, id, time.UnixMicro(micros)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	for id, micros := range used { // for the next time
		s.usageOf(id).last.CompareAndSwap(0, micros)
	}
	return fmt.Errorf("note the use of API keys: %w", err)
}
