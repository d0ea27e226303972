// Package secret holds the one type that may carry a credential through the process.
//
// A Text prints, logs, formats and marshals as "[redacted]" whatever verb or encoder is used; the value leaves it only
// through Reveal, so every place that can leak a secret is found by searching for that name.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Redacted is what a Text shows in place of its value.
const Redacted = "[redacted]"

// Text is a secret string. The zero value is the empty secret.
//
// It is deliberately not comparable with == (use Equal, which takes constant time) and never marshals its value: a struct
// that must write the secret on the wire does so with an explicit Reveal.
type Text struct {
	_     [0]func()
	value string
}

// New wraps value.
func New(value string) Text { return Text{value: value} }

// Reveal returns the secret itself. Call it at the last moment: when sealing, signing, or writing the wire.
func (t Text) Reveal() string { return t.value }

// IsEmpty reports whether there is no secret.
func (t Text) IsEmpty() bool { return t.value == "" }

// Equal compares in time that depends on the lengths only.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.value), []byte(other.value)) == 1
}

// String implements fmt.Stringer with the redacted form.
func (t Text) String() string { return Redacted }

// Format implements fmt.Formatter so that %v, %+v, %#v, %q and %x are all redacted.
func (t Text) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, Redacted) }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements encoding.TextMarshaler, which encoding/json uses too.
func (t Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
