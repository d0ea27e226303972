package tenant

import (
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// What a caller without a valid key is told. All are 401 in the legacy envelope.
var (
	ErrMissingHeader   = unauthorized("missing_auth_header", "The Authorization header is missing: send it as \"Bearer <API key>\"")
	ErrMalformedHeader = unauthorized("malformed_auth_header", "The Authorization header has no key: send it as \"Bearer <API key>\"")
	ErrKeyFormat       = unauthorized("invalid_secret_key_format", "The API key is not a version 4 UUID")
	ErrUnknownKey      = unauthorized("unknown_account", "The API key is not known: it may have been deleted, or belong to another server")
)

func unauthorized(code, message string) *errs.Error {
	return errs.New(http.StatusUnauthorized, code, message).AsLegacy()
}

// ParseAuthorization takes the token out of an Authorization header: what follows the last "Bearer ", or the whole value if
// there is none. An empty header counts as missing.
func ParseAuthorization(header string) (token string, err error) {
	if header == "" {
		return "", ErrMissingHeader
	}
	const scheme = "Bearer "
	token = header
	if i := strings.LastIndex(header, scheme); i >= 0 {
		token = header[i+len(scheme):]
	}
	if token == "" {
		return "", ErrMalformedHeader
	}
	return token, nil
}

// parseKey reads an API key. Its digits may be of either case.
func parseKey(token string) (uuid.UUID, bool) {
	const length = 36 // uuid.Parse knows other spellings
	if len(token) != length {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(token)
	return id, err == nil && id.Version() == 4 && id.Variant() == uuid.RFC4122
}
