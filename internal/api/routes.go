package api

import (
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// routes registers everything the API answers.
func (s *Server) routes() {
	s.router.handle(http.MethodGet, "/health", s.health)
	s.router.handle(http.MethodGet, "/ready", s.ready)
	s.providerRoutes()
	s.integrationRoutes()
	s.connectionRoutes()
	s.functionRoutes()
	s.environmentRoutes()
	s.proxyRoutes()
	s.logRoutes()
	s.recordRoutes()
	s.syncRoutes()
	s.actionRoutes()
}

func (s *Server) health(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"result": "ok"})
}

// ready answers 503 while the process can't do its work, so that a load balancer leaves it alone.
func (s *Server) ready(w http.ResponseWriter, r *request) error {
	if err := s.opts.Ready(r.Context()); err != nil {
		s.opts.Logger.WarnContext(r.Context(), "not ready", "err", err)
		return writeJSON(w, http.StatusServiceUnavailable, map[string]string{"result": "not ready"})
	}
	return writeJSON(w, http.StatusOK, map[string]string{"result": "ok"})
}

// forbid is the answer for a key that lacks something.
func forbid(message string) error { return errs.New(http.StatusForbidden, "forbidden", message) }
