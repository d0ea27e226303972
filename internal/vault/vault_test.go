package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/vault"
	"github.com/patchbay-dev/patchbay/internal/vault/vaulttest"
)

// clock is a time that only moves when told to; waiting moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
	// waiting, when set, runs before a wait ends.
	waiting func()
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Wait(ctx context.Context, d time.Duration) error {
	if c.waiting != nil {
		c.waiting()
	}
	c.advance(d)
	return context.Cause(ctx)
}

// world is a database with one sealed column and a master key, on which nodes open vaults.
type world struct {
	*clock

	store  *vaulttest.Store
	column *vaulttest.Column
	master secret.Text
}

func newWorld() *world {
	return &world{newClock(), &vaulttest.Store{}, vaulttest.NewColumn("connections.credentials"), vault.GenerateMasterKey()}
}

func (w *world) options() vault.Options {
	return vault.Options{
		MasterKey: w.master, Store: w.store, Sealed: []vault.Sealed{w.column}, Now: w.Now, Wait: w.Wait, Logger: slog.New(slog.DiscardHandler),
	}
}

func (w *world) node(t interface {
	Helper()
	Fatal(args ...any)
}) *vault.Vault {
	t.Helper()
	v, _, err := vault.Open(context.Background(), w.options())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func seal(t *testing.T, v *vault.Vault, text string, c vault.Context) []byte {
	t.Helper()
	sealed, err := v.Seal([]byte(text), c)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func keyOf(t *testing.T, sealed []byte) uint32 {
	t.Helper()
	id, ok := vault.KeyID(sealed)
	if !ok {
		t.Fatalf("no key id in %x", sealed)
	}
	return id
}

func TestValueOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	w := newWorld() // its clock makes the look for the key of a damaged value take no time
	opts := w.options()
	opts.Sealed = []vault.Sealed{vaulttest.NewColumn("a.b"), vaulttest.NewColumn("ab.c"), vaulttest.NewColumn("a.bc")}
	v, _, err := vault.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	places := []vault.Context{
		{Table: "a", Column: "b", ID: "c"}, {Table: "ab", Column: "c", ID: "c"}, {Table: "a", Column: "bc", ID: "c"},
		{Table: "a", Column: "b", ID: "cc"}, {Table: "a", Column: "b", ID: "c\x00"},
	}
	rapid.Check(t, func(t *rapid.T) {
		plaintext := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
		own := rapid.SampledFrom(places).Draw(t, "own")
		asked := rapid.SampledFrom(places).Draw(t, "asked")
		sealed, err := v.Seal(plaintext, own)
		if err != nil {
			t.Fatal(err)
		}
		if len(plaintext) > 3 && bytes.Contains(sealed, plaintext) {
			t.Fatal("the plaintext is in the sealed value")
		}
		got, err := v.Open(sealed, asked)
		switch {
		case asked == own && (err != nil || !bytes.Equal(got, plaintext)):
			t.Fatalf("does not open in its own place: %v", err)
		case asked != own && !errors.Is(err, vault.ErrUnreadable):
			t.Fatalf("opened in %v, sealed for %v: %v", asked, own, err)
		}
		if len(sealed) > 0 {
			damaged := bytes.Clone(sealed)
			damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "damaged")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
			if _, err := v.Open(damaged, own); !errors.Is(err, vault.ErrUnreadable) {
				t.Fatalf("a damaged value: %v", err)
			}
			if _, err := v.Open(sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")], own); !errors.Is(err, vault.ErrUnreadable) {
				t.Fatalf("a cut value: %v", err)
			}
		}
	})
}

func TestSealRefusesWhatARotationWouldNotFind(t *testing.T) {
	t.Parallel()
	v := vaulttest.Open(t, "connections.credentials")
	for _, c := range []vault.Context{
		{}, {Table: "connections", Column: "credentials"}, {Table: "connections", Column: "config", ID: "1"}, {Table: "other", Column: "credentials", ID: "1"},
	} {
		if sealed, err := v.Seal([]byte("x"), c); err == nil {
			t.Errorf("sealed for %v: %x", c, sealed)
		}
	}
}

func TestMasterKeyMustBe32BytesInBase64(t *testing.T) {
	t.Parallel()
	const good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, text := range []string{good, strings.TrimSuffix(good, "="), " " + good + "\n"} {
		w := newWorld()
		w.master = secret.New(text)
		w.node(t)
	}
	for text, want := range map[string]string{
		"hunter2 hunter2 hunter2 hunter2!!": "is not base64",
		"AAECAwQFBgcICQoLDA0ODw==":          "decodes to 16 bytes, want 32",
		good[:43] + "A==":                   "decodes to 33 bytes, want 32",
		strings.Repeat("ab", 32):            "decodes to 48 bytes, want 32", // 32 bytes in hex
	} {
		w := newWorld()
		w.master = secret.New(text)
		_, _, err := vault.Open(t.Context(), w.options())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), vault.MasterKeyVariable) {
			t.Errorf("error %v, want one that names the variable and says %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestWrongMasterKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	sealed := seal(t, w.node(t), "secret", w.column.Context("1"))
	right := w.master

	w.master = vault.GenerateMasterKey()
	_, _, err := vault.Open(t.Context(), w.options())
	var wrong *vault.MasterKeyError
	if !errors.As(err, &wrong) || wrong.Stored == wrong.Given || !strings.Contains(err.Error(), "wrong master key") {
		t.Errorf("another key: %v", err)
	}

	opts := w.options()
	opts.KeyFile = filepath.Join(t.TempDir(), "encryption.key")
	if err := os.WriteFile(opts.KeyFile, []byte(right.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := vault.Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), opts.KeyFile) {
		t.Errorf("the right key is in the file, the error does not say so: %v", err)
	}

	opts.MasterKey, opts.KeyFile = secret.Text{}, filepath.Join(t.TempDir(), "missing.key")
	if _, _, err := vault.Open(t.Context(), opts); !errors.Is(err, vault.ErrNoMasterKey) {
		t.Errorf("no key: %v", err)
	}
	if _, err := os.Stat(opts.KeyFile); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was generated for a database that was sealed with another one")
	}
	opts.KeyFile = ""
	if _, _, err := vault.Open(t.Context(), opts); !errors.Is(err, vault.ErrNoMasterKey) {
		t.Errorf("no key and no file: %v", err)
	}

	w.master = right
	if got, err := w.node(t).Open(sealed, w.column.Context("1")); err != nil || string(got) != "secret" {
		t.Errorf("the right key after the wrong ones: %q, %v", got, err)
	}
}

func TestKeyIsGeneratedOnceAndReadableByItsOwnerOnly(t *testing.T) {
	t.Parallel()
	w := newWorld()
	opts := w.options()
	opts.MasterKey, opts.KeyFile = secret.Text{}, filepath.Join(t.TempDir(), "data", "encryption.key")
	first, notice, err := vault.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if notice.Generated != opts.KeyFile || !strings.Contains(notice.String(), opts.KeyFile) {
		t.Errorf("notice %+v, want one that names the file", notice)
	}
	info, err := os.Stat(opts.KeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(opts.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(notice.String(), strings.TrimSpace(string(text))) {
		t.Error("the notice shows the key")
	}
	sealed := seal(t, first, "secret", w.column.Context("1"))

	second, notice, err := vault.Open(t.Context(), opts)
	if err != nil || notice.String() != "" {
		t.Fatalf("second start: %v, notice %q", err, notice)
	}
	if got, err := second.Open(sealed, w.column.Context("1")); err != nil || string(got) != "secret" {
		t.Errorf("second start: %q, %v", got, err)
	}

	if err := os.Chmod(opts.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, notice, err = vault.Open(t.Context(), opts); err != nil || notice.Exposed != opts.KeyFile || notice.String() == "" {
		t.Errorf("a key file that all can read: %+v, %v", notice, err)
	}
	entries, err := os.ReadDir(filepath.Dir(opts.KeyFile))
	if err != nil || len(entries) != 1 {
		t.Errorf("files left beside the key: %v, %v", entries, err)
	}
}

func TestProcessesThatStartTogetherAgreeOnTheKeys(t *testing.T) {
	t.Parallel()
	w := newWorld()
	opts := w.options()
	opts.MasterKey, opts.KeyFile = secret.Text{}, filepath.Join(t.TempDir(), "encryption.key")
	nodes := make([]*vault.Vault, 8)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			v, _, err := vault.Open(t.Context(), opts)
			if err != nil {
				t.Errorf("node %d: %v", i, err)
			}
			nodes[i] = v
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := seal(t, nodes[0], "x", w.column.Context("1"))
	for i, v := range nodes {
		if _, err := v.Open(sealed, w.column.Context("1")); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		if !bytes.Equal(v.Hash("p", []byte("x")), nodes[0].Hash("p", []byte("x"))) {
			t.Errorf("node %d has another lookup key", i)
		}
	}
}

func TestHashDependsOnPurposeValueAndDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	digest := v.Hash("api_key", []byte("value"))
	if len(digest) != 32 || !bytes.Equal(digest, w.node(t).Hash("api_key", []byte("value"))) {
		t.Error("the digest is not the same 32 bytes on another node")
	}
	for what, other := range map[string][]byte{
		"another purpose": v.Hash("token", []byte("value")), "another value": v.Hash("api_key", []byte("valuE")),
		"the border moved": v.Hash("api_ke", []byte("y\x00value")), "another database": newWorld().node(t).Hash("api_key", []byte("value")),
	} {
		if bytes.Equal(digest, other) {
			t.Errorf("%s has the same digest", what)
		}
	}
	if _, err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(digest, v.Hash("api_key", []byte("value"))) {
		t.Error("a rotation of the data key changed the digest: no API key would be found")
	}
}
