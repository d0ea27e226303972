package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

const (
	// defaultLease: long enough that a look costs nothing, short enough that a rotation does not have to wait long.
	defaultLease = 15 * time.Second
	// defaultRetireAfter is many times what a request, a write closure or a database fail-over takes.
	defaultRetireAfter = 10 * time.Minute
	// refetchEvery bounds how often values under unknown keys can make a process read the keyset again.
	refetchEvery = 200 * time.Millisecond
	// lookTimeout bounds a look at the database inside Seal and Open, which have no context of their own.
	lookTimeout = 5 * time.Second

	hashSize = 32

	topic = "vault"
)

var (
	// ErrUnreadable is returned for a value that does not open: damaged, moved from another row, or under a key that is gone.
	ErrUnreadable = errors.New("sealed value does not open")
	// ErrNoMasterKey is returned when the database has keysets and there is no master key to open them with.
	ErrNoMasterKey = errors.New("no master key")
)

// Store keeps the keysets.
type Store interface {
	// Write runs fn in a transaction that the methods of Store and Sealed join.
	Write(ctx context.Context, fn func(ctx context.Context) error) error
	Keysets(ctx context.Context) ([]StoredKeyset, error)
	// InsertKeyset reports false if there is one of that name.
	InsertKeyset(ctx context.Context, k StoredKeyset) (bool, error)
	// SwapKeyset replaces was by now; false if the stored version, master key, staged key or CleanSince are not those of was.
	SwapKeyset(ctx context.Context, was, now StoredKeyset) (bool, error)
	Listen(topic string, deliver func(payload string)) (cancel func())
	Notify(ctx context.Context, topic, payload string) error
}

// Options configure a vault.
type Options struct {
	// MasterKey is 32 bytes in base64. Empty means the key in KeyFile.
	MasterKey secret.Text
	// KeyFile is where the master key is read from, and generated into at the first start, when MasterKey is empty. Empty
	// means that MasterKey is required.
	KeyFile string
	Store   Store
	// Sealed are all columns that hold sealed values. Seal refuses any other.
	Sealed []Sealed

	// Lease is how long Seal may use a keyset after it was compared with the database; 0 means 15 s.
	Lease time.Duration
	// RetireAfter is how long an old key must have been unused before it is removed; 0 means 10 min, -1 that one look is
	// enough, which is right only where nothing else uses the database.
	RetireAfter time.Duration
	Logger      *slog.Logger     // nil: slog.Default
	Now         func() time.Time // nil: time.Now
	// Wait returns after d, or earlier with the cause when ctx ends. nil: a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// Notice is what the operator should be told about the master key. The zero value is: nothing.
type Notice struct {
	// Generated is the file into which a new master key was written.
	Generated string
	// Exposed is the key file when others than its owner can read it.
	Exposed string
}

// String is the text to print; empty if there is nothing to say.
func (n Notice) String() string {
	switch {
	case n.Generated != "":
		return "generated a master key in " + n.Generated + ": keep a copy away from the database backups. " +
			"Without it no stored credential can be read again. For several nodes, or to hold it elsewhere, set " + MasterKeyVariable + "."
	case n.Exposed != "":
		return "the master key in " + n.Exposed + " can be read by other users of this machine: run chmod 600 on it."
	}
	return ""
}

// Vault seals and opens values. It is safe for concurrent use.
//
// It is a lifecycle.Service: started, it keeps the keyset fresh and does once a minute what Maintain does. A process that reads
// and seals for a moment only, such as a command, need not start it.
type Vault struct {
	*lifecycle.Loop

	opts   Options
	master atomic.Pointer[master]
	lookup *prf.Set
	places map[place]struct{}

	ring      atomic.Pointer[ring]
	validated atomic.Pointer[time.Time] // when ring was last known to be the stored one; nil: look before sealing
	reloading sync.Mutex                // guards replacing ring, and the two times below
	looked    time.Time
	refetched time.Time
	changing  sync.Mutex // one rotation, rewrap or master key change per process

	stopListening func()
	nudge         chan struct{}
}

// Open opens the vault, creating the keysets at the first start. The notice is to be shown to the operator. A master key
// that is not the stored one is a *MasterKeyError.
func Open(ctx context.Context, opts Options) (*Vault, Notice, error) {
	opts = withDefaults(opts)
	v := &Vault{opts: opts, places: map[place]struct{}{}, nudge: make(chan struct{}, 1)}
	for _, s := range opts.Sealed {
		table, column := s.Place()
		v.places[place{table, column}] = struct{}{}
	}
	v.Loop = lifecycle.NewLoop("vault", opts.Logger, v.run)
	notice, err := v.open(ctx)
	if err != nil {
		return nil, Notice{}, fmt.Errorf("open the vault: %w", err)
	}
	v.stopListening = opts.Store.Listen(topic, func(string) { v.suspect() })
	return v, notice, nil
}

func withDefaults(opts Options) Options {
	if opts.Lease == 0 {
		opts.Lease = defaultLease
	}
	if opts.RetireAfter == 0 {
		opts.RetireAfter = defaultRetireAfter
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Wait == nil {
		opts.Wait = lifecycle.Sleep
	}
	return opts
}

func (v *Vault) open(ctx context.Context) (Notice, error) {
	stored, err := v.opts.Store.Keysets(ctx)
	if err != nil {
		return Notice{}, err
	}
	m, notice, err := v.findMaster(stored)
	if err != nil {
		return notice, err
	}
	v.master.Store(&m)
	// Another node may be starting at the same time: whoever inserts first makes the keys, the other one uses them.
	for name, create := range map[string]func() (*keyset.Handle, error){dataKeyset: newDataKeyset, lookupKeyset: newLookupKeyset} {
		if _, ok := named(stored, name); ok {
			continue
		}
		if err := v.create(ctx, name, create); err != nil {
			return notice, err
		}
	}
	if stored, err = v.opts.Store.Keysets(ctx); err != nil {
		return notice, err
	}
	return notice, v.load(stored)
}

func (v *Vault) load(stored []StoredKeyset) error {
	lookup, ok := named(stored, lookupKeyset)
	if !ok {
		return errNoKeyset
	}
	handle, err := lookup.open(*v.master.Load())
	if err != nil {
		return v.explain(err)
	}
	if v.lookup, err = newLookup(handle); err != nil {
		return err
	}
	v.reloading.Lock()
	defer v.reloading.Unlock()
	_, err = v.take(stored, v.opts.Now())
	return v.explain(err)
}

// findMaster gets the master key, and generates one only if nothing has been sealed yet.
func (v *Vault) findMaster(stored []StoredKeyset) (master, Notice, error) {
	if !v.opts.MasterKey.IsEmpty() {
		m, err := parseMaster(v.opts.MasterKey, MasterKeyVariable, FromOperator)
		return m, Notice{}, err
	}
	if v.opts.KeyFile == "" {
		return master{}, Notice{}, fmt.Errorf("%w: set %s", ErrNoMasterKey, MasterKeyVariable)
	}
	if data, ok := named(stored, dataKeyset); ok {
		if err := installKeyFile(v.opts.KeyFile, data.MasterKeyID); err != nil {
			return master{}, Notice{}, err
		}
	}
	m, exposed, err := readKeyFile(v.opts.KeyFile)
	switch {
	case err == nil && exposed:
		return m, Notice{Exposed: v.opts.KeyFile}, nil
	case err == nil || !errors.Is(err, errNoKeyFile):
		return m, Notice{}, err
	case len(stored) > 0:
		return m, Notice{}, fmt.Errorf("%w: the database holds sealed values, but %s is not set and there is no key file %s: "+
			"put back the key that was used before", ErrNoMasterKey, MasterKeyVariable, v.opts.KeyFile)
	}
	notice := Notice{Generated: v.opts.KeyFile}
	if err := writeKeyFile(v.opts.KeyFile, GenerateMasterKey()); errors.Is(err, fs.ErrExist) {
		notice = Notice{} // another process was faster; its key is the one
	} else if err != nil {
		return m, Notice{}, err
	}
	m, _, err = readKeyFile(v.opts.KeyFile)
	return m, notice, err
}

// explain adds to a wrong master key where the right one is, if it is known.
func (v *Vault) explain(err error) error {
	var wrong *MasterKeyError
	if !errors.As(err, &wrong) || v.opts.KeyFile == "" || v.master.Load().source == FromFile {
		return err
	}
	if m, _, fileErr := readKeyFile(v.opts.KeyFile); fileErr == nil && m.id == wrong.Stored {
		wrong.FileMatches = v.opts.KeyFile
	}
	return err
}

func (v *Vault) create(ctx context.Context, name string, newHandle func() (*keyset.Handle, error)) error {
	handle, err := newHandle()
	if err != nil {
		return fmt.Errorf("create keyset %s: %w", name, err)
	}
	stored, err := StoredKeyset{Name: name, Version: 1, UpdatedAt: v.opts.Now()}.seal(*v.master.Load(), handle)
	if err != nil {
		return err
	}
	_, err = v.opts.Store.InsertKeyset(ctx, stored)
	return err
}

func named(all []StoredKeyset, name string) (StoredKeyset, bool) {
	for _, k := range all {
		if k.Name == name {
			return k, true
		}
	}
	return StoredKeyset{}, false
}

// Seal encrypts plaintext for its place. A place that is not registered in Options.Sealed is an error, because a rotation
// would not find its rows.
func (v *Vault) Seal(plaintext []byte, c Context) ([]byte, error) {
	if _, known := v.places[c.place()]; !known || !c.complete() {
		return nil, fmt.Errorf("seal for %q: not a registered sealed column with a row id", c)
	}
	r, err := v.fresh()
	if err != nil {
		return nil, fmt.Errorf("seal for %s: %w", c, err)
	}
	sealed, err := r.aead.Encrypt(plaintext, c.associated())
	if err != nil {
		return nil, fmt.Errorf("seal for %s: %w", c, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same place. A value that does not open is ErrUnreadable; any other error means that
// the keyset could not be read.
func (v *Vault) Open(sealed []byte, c Context) ([]byte, error) {
	id, ok := KeyID(sealed)
	if !ok {
		return nil, fmt.Errorf("open %s: %w: not a sealed value", c, ErrUnreadable)
	}
	r := v.ring.Load()
	if !r.has(id) {
		var err error
		if r, err = v.refetch(id); err != nil {
			return nil, fmt.Errorf("open %s: %w", c, err)
		}
		if !r.has(id) {
			return nil, fmt.Errorf("open %s: %w: key %d is not in the keyset", c, ErrUnreadable, id)
		}
	}
	plaintext, err := r.aead.Decrypt(sealed, c.associated())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: damaged, or sealed for another row", c, ErrUnreadable)
	}
	return plaintext, nil
}

// Hash gives the 32-byte digest by which a value is stored and found again without being known: HMAC-SHA256 under the lookup
// key, which is the same on every node and never changes. purpose keeps the digests of one kind of value apart from another's.
// It is fit for values that can't be guessed, such as random keys and tokens; it is no password hash.
func (v *Vault) Hash(purpose string, value []byte) []byte {
	input := make([]byte, 0, len(purpose)+1+len(value))
	input = append(append(append(input, purpose...), 0), value...)
	digest, err := v.lookup.ComputePrimaryPRF(input, hashSize)
	if err != nil { // only for a size that newLookup has tried
		panic(err)
	}
	return digest
}
