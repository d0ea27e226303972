package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

func TestTextNeverShowsItsValue(t *testing.T) {
	t.Parallel()
	const value = "sk_live_4242"
	s := secret.New(value)
	holder := struct{ Token secret.Text }{s}

	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("login", "token", s, "holder", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{
		"%v": fmt.Sprintf("%v", s), "%+v": fmt.Sprintf("%+v", holder), "%#v": fmt.Sprintf("%#v", s), "%q": fmt.Sprintf("%q", s),
		"%x": fmt.Sprintf("%x", s), "%s": fmt.Sprintf("%s", s), "json": string(encoded), "slog": logged.String(), "pointer": fmt.Sprint(&s),
		"error": fmt.Errorf("bad token %v", s).Error(),
	}
	for form, text := range shown {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("%s shows the secret: %s", form, text)
		}
		if !strings.Contains(text, secret.Redacted) {
			t.Errorf("%s = %q, want it to say %s", form, text, secret.Redacted)
		}
	}
	if s.Reveal() != value {
		t.Errorf("Reveal = %q", s.Reveal())
	}
}

func TestEqualComparesValues(t *testing.T) {
	t.Parallel()
	if !secret.New("a").Equal(secret.New("a")) || secret.New("a").Equal(secret.New("b")) || secret.New("a").Equal(secret.Text{}) {
		t.Fatal("Equal does not compare the values")
	}
	if !(secret.Text{}).IsEmpty() || secret.New("x").IsEmpty() {
		t.Fatal("IsEmpty is wrong")
	}
}
