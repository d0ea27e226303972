package tenant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// The scopes of environment keys. A scope that ends in ":*" grants everything that starts with the part before the star.
const (
	ScopeEnvironment                 = "environment:*"
	ScopeIntegrationsList            = "environment:integrations:list"
	ScopeIntegrationsListCredentials = "environment:integrations:list_credentials"
	ScopeIntegrationsListFunctions   = "environment:integrations:list_functions"
	ScopeIntegrationsRead            = "environment:integrations:read"
	ScopeIntegrationsReadCredentials = "environment:integrations:read_credentials"
	ScopeIntegrationsCreate          = "environment:integrations:create"
	ScopeIntegrationsUpdate          = "environment:integrations:update"
	ScopeIntegrationsDelete          = "environment:integrations:delete"
	ScopeConnectionsList             = "environment:connections:list"
	ScopeConnectionsListCredentials  = "environment:connections:list_credentials"
	ScopeConnectionsRead             = "environment:connections:read"
	ScopeConnectionsReadCredentials  = "environment:connections:read_credentials"
	ScopeConnectionsCreate           = "environment:connections:create"
	ScopeConnectionsUpdate           = "environment:connections:update"
	ScopeConnectionsDelete           = "environment:connections:delete"
	ScopeConnectSessionsWrite        = "environment:connect_sessions:write"
	ScopeSyncsRead                   = "environment:syncs:read"
	ScopeSyncsExecute                = "environment:syncs:execute"
	ScopeSyncsUpdate                 = "environment:syncs:update"
	ScopeSyncsVariantCreate          = "environment:syncs:variant:create"
	ScopeSyncsVariantDelete          = "environment:syncs:variant:delete"
	ScopeFunctionsList               = "environment:functions:list"
	ScopeFunctionsRead               = "environment:functions:read"
	ScopeFunctionsDelete             = "environment:functions:delete"
	ScopeFunctionsCompile            = "environment:functions:compile"
	ScopeFunctionsDryrun             = "environment:functions:dryrun"
	ScopeFunctionsInvocations        = "environment:functions:invocations"
	ScopeDeploy                      = "environment:deploy"
	ScopeRecordsRead                 = "environment:records:read"
	ScopeRecordsWrite                = "environment:records:write"
	ScopeLogsRead                    = "environment:logs:read"
	ScopeActionsExecute              = "environment:actions:execute"
	ScopeProxy                       = "environment:proxy"
	ScopeVariablesRead               = "environment:variables:read"
	ScopeWebhookSigningKeyRotate     = "environment:webhook_signing_key:rotate"
	ScopeMCP                         = "environment:mcp"
	ScopeAgentSessionsWrite          = "environment:agent_sessions:write"
)

// The scopes of account keys.
//
//nolint:gosec // names of rights, not credentials
const (
	ScopeAccount                   = "account:*"
	ScopeEnvironmentsList          = "account:environments:list"
	ScopeEnvironmentsCreate        = "account:environments:create"
	ScopeEnvironmentsDelete        = "account:environments:delete"
	ScopeEnvironmentsSetProduction = "account:environments:set_production"
	ScopeAPIKeysList               = "account:environments:api_keys:list"
	ScopeAPIKeysRead               = "account:environments:api_keys:read"
	ScopeAPIKeysCreate             = "account:environments:api_keys:create"
	ScopeAPIKeysDelete             = "account:environments:api_keys:delete"
)

const (
	environmentNamespace = "environment:"
	accountNamespace     = "account:"
	wildcard             = ":*"
)

var knownScopes = [...]string{
	ScopeIntegrationsList, ScopeIntegrationsListCredentials, ScopeIntegrationsListFunctions, ScopeIntegrationsRead,
	ScopeIntegrationsReadCredentials, ScopeIntegrationsCreate, ScopeIntegrationsUpdate, ScopeIntegrationsDelete,
	ScopeConnectionsList, ScopeConnectionsListCredentials, ScopeConnectionsRead, ScopeConnectionsReadCredentials,
	ScopeConnectionsCreate, ScopeConnectionsUpdate, ScopeConnectionsDelete, ScopeConnectSessionsWrite,
	ScopeSyncsRead, ScopeSyncsExecute, ScopeSyncsUpdate, ScopeSyncsVariantCreate, ScopeSyncsVariantDelete,
	ScopeFunctionsList, ScopeFunctionsRead, ScopeFunctionsDelete, ScopeFunctionsCompile, ScopeFunctionsDryrun,
	ScopeFunctionsInvocations, ScopeDeploy, ScopeRecordsRead, ScopeRecordsWrite, ScopeLogsRead, ScopeActionsExecute,
	ScopeProxy, ScopeVariablesRead, ScopeWebhookSigningKeyRotate, ScopeMCP, ScopeAgentSessionsWrite,
	ScopeEnvironmentsList, ScopeEnvironmentsCreate, ScopeEnvironmentsDelete, ScopeEnvironmentsSetProduction,
	ScopeAPIKeysList, ScopeAPIKeysRead, ScopeAPIKeysCreate, ScopeAPIKeysDelete,
}

// KnownScopes lists what can be granted to a key of an environment, or of the account, besides wildcards.
func KnownScopes(ofAccount bool) []string {
	var all []string
	for _, scope := range knownScopes {
		if strings.HasPrefix(scope, namespace(ofAccount)) {
			all = append(all, scope)
		}
	}
	return all
}

func namespace(ofAccount bool) string {
	if ofAccount {
		return accountNamespace
	}
	return environmentNamespace
}

// grants reports whether a granted scope matches a required one.
func grants(granted, required string) bool {
	if granted == required {
		return true
	}
	prefix, isWildcard := strings.CutSuffix(granted, "*")
	return isWildcard && strings.HasSuffix(granted, wildcard) && strings.HasPrefix(required, prefix)
}

// grantable reports whether scope is a known one or the wildcard of a known namespace.
func grantable(scope string, ofAccount bool) bool {
	if !strings.HasPrefix(scope, namespace(ofAccount)) {
		return false
	}
	return slices.ContainsFunc(knownScopes[:], func(known string) bool { return known == scope || known != scope && grants(scope, known) })
}

// checkScopes finds what is wrong with the scopes of a new key. None means all of the key's kind.
func checkScopes(scopes []string, ofAccount bool) []errs.Issue {
	var issues []errs.Issue
	for i, scope := range scopes {
		path := []string{"scopes", strconv.Itoa(i)}
		switch {
		case !grantable(scope, ofAccount):
			issues = append(issues, errs.Issue{Code: "invalid_value", Message: fmt.Sprintf("Unknown scope %.100q", scope), Path: path})
		case slices.Contains(scopes[:i], scope):
			issues = append(issues, errs.Issue{Code: "custom", Message: "The scope is listed twice", Path: path})
		}
	}
	return issues
}
