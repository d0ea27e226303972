package record

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/vault"
)

// glass is a Sealer that seals nothing but checks the place.
type glass struct{}

func (glass) Seal(plaintext []byte, c vault.Context) ([]byte, error) {
	return append([]byte(c.String()+"\n"), plaintext...), nil
}

func (glass) Open(sealed []byte, c vault.Context) ([]byte, error) {
	place, plaintext, _ := bytes.Cut(sealed, []byte("\n"))
	if string(place) != c.String() {
		return nil, vault.ErrUnreadable
	}
	return plaintext, nil
}

func (glass) Hash(string, []byte) []byte { return []byte("key") }

func TestPayloadsComeBackWhateverTheirSize(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Vault: glass{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"id":"1"}`, strings.Repeat("x", packFrom), strings.Repeat(`{"a":"bc"}`, 10_000), randomText(4000)} {
		sealed, err := s.seal([]byte(text), 7, "1")
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) > len(text)+40 {
			t.Errorf("%d bytes became %d", len(text), len(sealed))
		}
		if opened, err := s.open(sealed, 7, "1"); err != nil || string(opened) != text {
			t.Errorf("%.20s… comes back as %.20s… (%v)", text, opened, err)
		}
		if _, err := s.open(sealed, 8, "1"); !errors.Is(err, vault.ErrUnreadable) {
			t.Errorf("a payload opens in another stream: %v", err)
		}
	}
	for _, packed := range []string{"", "\x07abc", "\x01abc"} {
		sealed, _ := glass{}.Seal([]byte(packed), place(7, "1"))
		if text, err := s.open(sealed, 7, "1"); err == nil {
			t.Errorf("%q opens as %q", packed, text)
		}
	}
}

// randomText does not compress.
func randomText(n int) string {
	b := make([]byte, 0, n)
	for id := uuid.NameSpaceURL; len(b) < n; id = uuid.NewSHA1(id, id[:]) {
		b = append(b, id[:]...)
	}
	return string(b[:n])
}

func TestAHashTellsWholeFromPartial(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Vault: glass{}})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(`{"id":"1"}`)
	if !bytes.Equal(s.sum(text, false), s.sum(text, false)) || bytes.Equal(s.sum(text, false), s.sum(text, true)) {
		t.Error("a hash is not stable, or the same for a partial record")
	}
	if len(s.sum(text, false)) != hashSize {
		t.Errorf("a hash has %d bytes", len(s.sum(text, false)))
	}
}

func TestCursorsThatAreNotOursAreRefused(t *testing.T) {
	t.Parallel()
	stream := Stream{EnvironmentID: 1, ConnectionID: 2, Model: "M"}
	for _, at := range []string{"2026-11-21T09:00:00Z", "2026-11-21T09:00:00.1Z", "2026-11-21T09:00:00.123456Z", "1969-01-01T00:00:00Z"} {
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		cursor := Cursor{At: when, ID: stream.RecordID("x")}
		if got, err := ParseCursor(cursor.String()); err != nil || got != cursor {
			t.Errorf("%v comes back as %v (%v)", cursor, got, err)
		}
	}
	id := uuid.NameSpaceDNS.String()
	for _, text := range []string{
		"", "not base64!", "2026-11-21T09:00:00+00:00", "2026-11-21||" + id, "2026-11-21T09:00:00+00:00||x",
		"2026-11-21T09:00:00+00:00||{" + id + "}", "2026-11-21T09:00:00+00:00||" + strings.ReplaceAll(id, "-", ""), "||",
	} {
		for _, encoded := range []string{text, base64.StdEncoding.EncodeToString([]byte(text))} {
			if cursor, err := ParseCursor(encoded); !errors.Is(err, ErrCursor) {
				t.Errorf("%q is taken for %v (%v)", text, cursor, err)
			}
		}
	}
}

func TestIDsDependOnTheStreamAndNothingElse(t *testing.T) {
	t.Parallel()
	stream := Stream{EnvironmentID: 1, ConnectionID: 2, Model: "M"}
	// Clients keep cursors with these ids: they must never change.
	if got, want := stream.RecordID("x").String(), "9460eb46-19f6-56f7-aa07-2995b6a48a79"; got != want {
		t.Errorf("the id of x is %s, was %s", got, want)
	}
	for _, other := range []Stream{{1, 3, "M"}, {1, 2, "N"}, {1, 2, "M::eu"}} {
		if other.RecordID("x") == stream.RecordID("x") {
			t.Errorf("%v and %v share ids", stream, other)
		}
	}
	if FullModel("M", "") != "M" || FullModel("M", Base) != "M" || FullModel("M", "eu") != "M::eu" {
		t.Error("full names of models are wrong")
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(Cursor{At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), ID: uuid.NameSpaceDNS}.String())
	f.Add("fHw=")
	f.Fuzz(func(t *testing.T, text string) {
		cursor, err := ParseCursor(text)
		if err != nil || cursor.IsZero() {
			return
		}
		if again, err := ParseCursor(cursor.String()); err == nil && again != cursor {
			t.Errorf("%q reads as %v, written and read again as %v", text, cursor, again)
		}
	})
}
