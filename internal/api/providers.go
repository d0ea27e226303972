package api

import (
	"maps"
	"net/http"
	"regexp"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

// Catalog finds providers.
type Catalog interface {
	Get(name string) (*provider.Provider, bool)
	List() []*provider.Provider
}

func (s *Server) providerRoutes() {
	s.json(http.MethodGet, "/providers", anyKey, s.listProviders)
	s.json(http.MethodGet, "/providers/:provider", anyKey, s.getProvider)
	s.json(http.MethodGet, "/providers/:provider/templates", anyKey, s.listTemplates)
}

// viewProvider is the catalog entry as it is written, with its name and logo.
func (s *Server) viewProvider(p *provider.Provider) map[string]any {
	v := maps.Clone(p.Document)
	v["name"] = p.Name
	v["logo_url"] = s.logo(p.Name)
	return v
}

func (s *Server) listProviders(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	search := q.String("search", input.Optional(input.IntegrationKey))
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	// The search is a plain text here: what passes the pattern above and means something else as a regular expression is "." only.
	match, err := regexp.Compile("(?i)" + regexp.QuoteMeta(search))
	if err != nil {
		return err
	}
	views := []map[string]any{}
	for _, p := range s.opts.Catalog.List() {
		if match.MatchString(p.Name) {
			views = append(views, s.viewProvider(p))
		}
	}
	return writeData(w, views)
}

func (s *Server) providerParam(r *request) (string, error) {
	if err := noQuery(r); err != nil {
		return "", err
	}
	p := input.Params(r.params)
	name := p.String("provider", input.Name)
	return name, p.Err("invalid_uri_params")
}

func (s *Server) getProvider(w http.ResponseWriter, r *request) error {
	name, err := s.providerParam(r)
	if err != nil {
		return err
	}
	p, ok := s.opts.Catalog.Get(name)
	if !ok {
		return errs.NotFound("There is no provider " + name + " in the catalog")
	}
	return writeData(w, s.viewProvider(p))
}

// listTemplates is always empty: functions are the operator's own, there is no catalog of them.
func (s *Server) listTemplates(w http.ResponseWriter, r *request) error {
	if _, err := s.providerParam(r); err != nil {
		return err
	}
	return writeData(w, []struct{}{})
}
