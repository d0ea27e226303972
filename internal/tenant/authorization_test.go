package tenant_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

func TestTokenIsWhatFollowsTheLastBearer(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"Bearer abc":          "abc",
		"abc":                 "abc",
		"bearer abc":          "bearer abc", // and then fails the format check
		"Bearer":              "Bearer",
		"Bearer a Bearer b":   "b",
		"Bearer Bearer b":     "b",
		"Bearer  two":         " two",
		"BearerBearer abc":    "abc",
		"Basic Zm9v":          "Basic Zm9v",
		"Token x, Bearer abc": "abc",
	} {
		if got, err := tenant.ParseAuthorization(header); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", header, got, err, want)
		}
	}
	for header, want := range map[string]*errs.Error{
		"": tenant.ErrMissingHeader, "Bearer ": tenant.ErrMalformedHeader, "x Bearer ": tenant.ErrMalformedHeader,
	} {
		if _, err := tenant.ParseAuthorization(header); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", header, err, want)
		}
	}
}

func TestWhatACallerWithoutAKeyIsTold(t *testing.T) {
	t.Parallel()
	for code, err := range map[string]*errs.Error{
		"missing_auth_header": tenant.ErrMissingHeader, "malformed_auth_header": tenant.ErrMalformedHeader,
		"invalid_secret_key_format": tenant.ErrKeyFormat, "unknown_account": tenant.ErrUnknownKey,
	} {
		if err.Code != code || err.Status != http.StatusUnauthorized || !err.Legacy || err.Message == "" {
			t.Errorf("%+v, want a 401 %s in the legacy envelope", err, code)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Bearer ", "Bearer abc", "bearer abc", "Bearer Bearer ", "Bearer 8f4a9c1e-3b2d-4e5f-8a7b-6c5d4e3f2a1b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, err := tenant.ParseAuthorization(header)
		var shown *errs.Error
		switch {
		case err != nil && (token != "" || !errors.As(err, &shown) || !shown.Legacy):
			t.Fatalf("%q: %q, %v", header, token, err)
		case err != nil && header != "" && !strings.HasSuffix(header, "Bearer "):
			t.Fatalf("%q has a token, but: %v", header, err)
		case err == nil && (token == "" || !strings.HasSuffix(header, token) || strings.Contains(token, "Bearer ")):
			t.Fatalf("%q: token %q", header, token)
		case err == nil && token != header && !strings.HasSuffix(header, "Bearer "+token):
			t.Fatalf("%q: token %q does not follow a Bearer", header, token)
		}
	})
}

// FuzzAuthenticate: only a version 4 UUID is looked up at all.
func FuzzAuthenticate(f *testing.F) {
	const key = "8f4a9c1e-3b2d-4e5f-8a7b-6c5d4e3f2a1b"
	for _, seed := range []string{
		"", key, strings.ToUpper(key), "8f4a9c1e3b2d4e5f8a7b6c5d4e3f2a1b", "{" + key + "}", "urn:uuid:" + key, key + " ",
		"8f4a9c1e-3b2d-1e5f-8a7b-6c5d4e3f2a1b", "8f4a9c1e-3b2d-4e5f-ca7b-6c5d4e3f2a1b", "00000000-0000-0000-0000-000000000000",
	} {
		f.Add(seed)
	}
	store := newFakeStore(f)
	service := newService(f, store, nil)
	f.Fuzz(func(t *testing.T, token string) {
		_, err := service.Authenticate(t.Context(), token)
		id, parseErr := uuid.Parse(token)
		valid := parseErr == nil && len(token) == 36 && id.Version() == 4 && id.Variant() == uuid.RFC4122
		want := tenant.ErrKeyFormat
		switch {
		case token == "":
			want = tenant.ErrMalformedHeader
		case valid:
			want = tenant.ErrUnknownKey
		}
		if !errors.Is(err, want) {
			t.Fatalf("%q: %v, want %v", token, err, want)
		}
	})
}
