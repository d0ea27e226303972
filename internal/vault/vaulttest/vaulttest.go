// Package vaulttest gives tests a vault that keeps its keysets in memory.
package vaulttest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Open opens a vault under a random master key that seals the given columns ("connections.credentials").
func Open(t testing.TB, columns ...string) *vault.Vault {
	t.Helper()
	opts := vault.Options{MasterKey: vault.GenerateMasterKey(), Store: &Store{}}
	for _, column := range columns {
		opts.Sealed = append(opts.Sealed, NewColumn(column))
	}
	v, _, err := vault.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Store keeps keysets as a database would. The zero value is empty. Its Write is a transaction in name only: nothing is undone.
type Store struct {
	mu        sync.Mutex
	keysets   map[string]vault.StoredKeyset
	listeners map[int]func(string)
	next      int
	// Deaf makes Notify lose its notes, as the database may.
	Deaf bool
	// Err, when set, is what Keysets returns.
	Err error
	// WriteErr, when set, is what Write returns.
	WriteErr error
	// Looks counts the calls of Keysets.
	Looks int
}

// Write calls fn.
func (s *Store) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	if s.WriteErr != nil {
		return s.WriteErr
	}
	return fn(ctx)
}

// Keysets implements vault.Store.
func (s *Store) Keysets(context.Context) ([]vault.StoredKeyset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Looks++
	if s.Err != nil {
		return nil, s.Err
	}
	all := make([]vault.StoredKeyset, 0, len(s.keysets))
	for _, k := range s.keysets {
		all = append(all, k)
	}
	return all, nil
}

// InsertKeyset implements vault.Store.
func (s *Store) InsertKeyset(_ context.Context, k vault.StoredKeyset) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keysets[k.Name]; ok {
		return false, nil
	}
	if s.keysets == nil {
		s.keysets = map[string]vault.StoredKeyset{}
	}
	s.keysets[k.Name] = k
	return true, nil
}

// SwapKeyset implements vault.Store.
func (s *Store) SwapKeyset(_ context.Context, was, now vault.StoredKeyset) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.keysets[was.Name]
	if is.Version != was.Version || is.MasterKeyID != was.MasterKeyID || is.StagedKeyID != was.StagedKeyID || !is.CleanSince.Equal(was.CleanSince) {
		return false, nil
	}
	s.keysets[was.Name] = now
	return true, nil
}

// Listen implements vault.Store.
func (s *Store) Listen(_ string, deliver func(payload string)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		s.listeners = map[int]func(string){}
	}
	id := s.next
	s.next++
	s.listeners[id] = deliver
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, id)
	}
}

// Notify implements vault.Store.
func (s *Store) Notify(_ context.Context, _, payload string) error {
	s.mu.Lock()
	var all []func(string)
	if !s.Deaf {
		for _, deliver := range s.listeners {
			all = append(all, deliver)
		}
	}
	s.mu.Unlock()
	for _, deliver := range all {
		deliver(payload)
	}
	return nil
}

// Column is a sealed column in memory.
type Column struct {
	table, column string

	mu   sync.Mutex
	rows map[string][]byte
}

// NewColumn makes an empty column; name is "table.column".
func NewColumn(name string) *Column {
	table, column, _ := strings.Cut(name, ".")
	return &Column{table: table, column: column, rows: map[string][]byte{}}
}

// Context is the place of a row's value.
func (c *Column) Context(id string) vault.Context {
	return vault.Context{Table: c.table, Column: c.column, ID: id}
}

// Put writes a row.
func (c *Column) Put(id string, sealed []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows[id] = sealed
}

// Get reads a row; nil if there is none.
func (c *Column) Get(id string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows[id]
}

// Place implements vault.Sealed.
func (c *Column) Place() (table, column string) { return c.table, c.column }

// Batch implements vault.Sealed.
func (c *Column) Batch(_ context.Context, after string, limit int) ([]vault.SealedRow, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range c.rows {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var rows []vault.SealedRow
	for _, id := range ids[:min(limit, len(ids))] {
		rows = append(rows, vault.SealedRow{Context: c.Context(id), Sealed: c.rows[id]})
	}
	return rows, nil
}

// Replace implements vault.Sealed.
func (c *Column) Replace(_ context.Context, row vault.SealedRow, sealed []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.rows[row.Context.ID], row.Sealed) {
		return false, nil
	}
	c.rows[row.Context.ID] = sealed
	return true, nil
}
