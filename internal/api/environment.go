package api

import (
	"context"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Tenants knows who calls.
type Tenants interface {
	// Authenticate finds who a token stands for; a refusal is an *errs.Error with status 401.
	Authenticate(ctx context.Context, token string) (tenant.Principal, error)
	Variables(ctx context.Context, e tenant.Environment) ([]tenant.Variable, error)
}

func (s *Server) environmentRoutes() {
	s.json(http.MethodGet, "/environment-variables", access{tenant.ScopeVariablesRead}, s.listVariables)
}

type variableView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// listVariables answers a bare array, which is what the SDKs take.
func (s *Server) listVariables(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		return errs.New(http.StatusBadRequest, "invalid_body", "This endpoint takes no body")
	}
	variables, err := s.opts.Tenants.Variables(r.Context(), r.principal.Environment)
	if err != nil {
		return err
	}
	views := make([]variableView, len(variables))
	for i, v := range variables {
		views[i] = variableView{v.Name, v.Value.Reveal()}
	}
	return writeJSON(w, http.StatusOK, views)
}
