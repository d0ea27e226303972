package config

import (
	"fmt"
	"log/slog"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// secretValue is a flag whose value is never printed.
type secretValue struct{ target *secret.Text }

func (v secretValue) Set(s string) error { *v.target = secret.New(s); return nil }
func (v secretValue) Type() string       { return "secret" }
func (v secretValue) String() string {
	if v.target == nil || v.target.IsEmpty() {
		return ""
	}
	return secret.Redacted
}

type roleValue struct{ target *Role }

func (v roleValue) Set(s string) error {
	switch r := Role(s); r {
	case All, API, Worker:
		*v.target = r
		return nil
	default:
		return fmt.Errorf("role %q: want all, api or worker", s)
	}
}

func (v roleValue) Type() string { return "role" }
func (v roleValue) String() string {
	if v.target == nil {
		return ""
	}
	return string(*v.target)
}

type levelValue struct{ target *slog.Level }

func (v levelValue) Set(s string) error { return v.target.UnmarshalText([]byte(s)) }
func (v levelValue) Type() string       { return "level" }
func (v levelValue) String() string {
	if v.target == nil {
		return ""
	}
	return v.target.String()
}
