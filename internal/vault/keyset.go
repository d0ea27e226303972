package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// The stored keysets.
const (
	dataKeyset   = "data"
	lookupKeyset = "lookup"
)

// StoredKeyset is a keyset as the database has it.
type StoredKeyset struct {
	Name string
	// Version grows by one when the keys change. Sealing the same keys with another master key leaves it.
	Version int64
	// MasterKeyID names the master key that sealed it.
	MasterKeyID string
	Sealed      []byte
	// StagedKeyID is a key that was published but is not used for sealing yet; 0 if there is none.
	StagedKeyID uint32
	StagedAt    time.Time
	// CleanSince is when the keys before the primary one were first found unused; zero while they are in use.
	CleanSince time.Time
	UpdatedAt  time.Time
}

func (s StoredKeyset) seal(m master, handle *keyset.Handle) (StoredKeyset, error) {
	var sealed bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&sealed), m.aead, keysetPlace(s.Name)); err != nil {
		return s, fmt.Errorf("seal keyset %s: %w", s.Name, err)
	}
	s.Sealed = sealed.Bytes()
	s.MasterKeyID = m.id
	return s, nil
}

func (s StoredKeyset) open(m master) (*keyset.Handle, error) {
	if s.MasterKeyID != m.id {
		return nil, &MasterKeyError{Keyset: s.Name, Stored: s.MasterKeyID, Given: m.id}
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(s.Sealed)), m.aead, keysetPlace(s.Name))
	if err != nil {
		return nil, &MasterKeyError{Keyset: s.Name, Stored: s.MasterKeyID, Given: m.id, cause: err}
	}
	return handle, nil
}

// keysetPlace keeps one keyset from being taken for another.
func keysetPlace(name string) []byte { return []byte("patchbay keyset " + name) }

// MasterKeyError is returned when the master key is not the one that sealed what is stored.
type MasterKeyError struct {
	Keyset        string
	Stored, Given string // ids of the keys, as [Status] shows them
	// FileMatches is set when the key in Options.KeyFile is the right one and Options.MasterKey is not.
	FileMatches string
	cause       error
}

func (e *MasterKeyError) Error() string {
	if e.Stored == e.Given {
		return fmt.Sprintf("the stored keyset %q is damaged: it was sealed with this master key (id %s), which does not open it",
			e.Keyset, e.Given)
	}
	text := fmt.Sprintf("wrong master key: the database was sealed with the key of id %s, the given one has id %s; "+
		"start with the key that was used before", e.Stored, e.Given)
	if e.FileMatches != "" {
		text += fmt.Sprintf(": it is in %s (unset %s, or set it to the contents of that file)", e.FileMatches, MasterKeyVariable)
	}
	return text
}

// Unwrap gives the cause.
func (e *MasterKeyError) Unwrap() error { return e.cause }

// ring is the data keyset ready for use. It is never changed: a new one takes its place.
type ring struct {
	stored  StoredKeyset
	handle  *keyset.Handle
	aead    tink.AEAD
	primary uint32
	ids     []uint32
	old     []uint32 // neither primary nor staged
}

func newRing(stored StoredKeyset, m master) (*ring, error) {
	handle, err := stored.open(m)
	if err != nil {
		return nil, err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("read keyset %s: %w", stored.Name, err)
	}
	info := handle.KeysetInfo()
	r := &ring{stored: stored, handle: handle, aead: primitive, primary: info.GetPrimaryKeyId()}
	for _, key := range info.GetKeyInfo() {
		id := key.GetKeyId()
		r.ids = append(r.ids, id)
		if id != r.primary && id != stored.StagedKeyID {
			r.old = append(r.old, id)
		}
	}
	return r, nil
}

func (r *ring) has(id uint32) bool { return slices.Contains(r.ids, id) }

// keyPrefix starts every sealed value (Tink's output prefix).
const (
	keyPrefix     = 0x01
	keyPrefixSize = 5
)

// KeyID gives the id of the key that sealed a value; ok is false for what Seal did not write.
func KeyID(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < keyPrefixSize || sealed[0] != keyPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:keyPrefixSize]), true
}

func newDataKeyset() (*keyset.Handle, error) { return keyset.NewHandle(aead.AES256GCMKeyTemplate()) }

func newLookupKeyset() (*keyset.Handle, error) {
	return keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
}

// newLookup gives the function behind Hash.
func newLookup(handle *keyset.Handle) (*prf.Set, error) {
	set, err := prf.NewPRFSet(handle)
	if err != nil {
		return nil, fmt.Errorf("read keyset %s: %w", lookupKeyset, err)
	}
	if _, err := set.ComputePrimaryPRF(nil, hashSize); err != nil {
		return nil, fmt.Errorf("read keyset %s: %w", lookupKeyset, err)
	}
	return set, nil
}

var errNoKeyset = errors.New("the stored keyset is gone")
