package tenant

import (
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// Principal is who calls: what an API key stands for. Scopes is shared and must not be changed.
type Principal struct {
	Account Account
	// Environment is the zero Environment for a key of the account.
	Environment Environment
	// KeyID is 0 for an operator's key.
	KeyID   int64
	KeyName string
	Scopes  []string
}

// Allows reports whether the scopes of the key include the required one. A key of an account never has scopes of an
// environment, and the other way round, whatever it was granted.
func (p *Principal) Allows(scope string) bool {
	if strings.HasPrefix(scope, accountNamespace) != (p.Environment.ID == 0) {
		return false
	}
	return slices.ContainsFunc(p.Scopes, func(granted string) bool { return grants(granted, scope) })
}

// Require is nil if the key has one of the scopes, else a 403 that names them.
func (p *Principal) Require(scopes ...string) error {
	if slices.ContainsFunc(scopes, p.Allows) {
		return nil
	}
	return errs.Newf(http.StatusForbidden, "forbidden", "This API key needs the scope %s", strings.Join(scopes, " or "))
}

// RequireEnvironment is a 403 for a key of the account.
func (p *Principal) RequireEnvironment() error {
	if p.Environment.ID != 0 {
		return nil
	}
	return errs.New(http.StatusForbidden, "forbidden", "This endpoint needs the API key of an environment, not of the account")
}
