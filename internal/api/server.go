package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// DefaultMaxBody is the largest JSON body that is read when Options has no limit: a deploy of a large project fits, with source
// maps (measured by others at 65 to 90 MB).
const DefaultMaxBody = 256 << 20

// Options of New. Every resource is required.
type Options struct {
	// PublicURL is where clients reach the server; webhook and logo URLs are made from it. It has no trailing slash.
	PublicURL string
	// MaxBody bounds JSON bodies in bytes; 0 means DefaultMaxBody.
	MaxBody int64
	Logger  *slog.Logger

	Tenants      Tenants
	Catalog      Catalog
	Integrations Integrations
	Connections  Connections
	Functions    Functions
	Fresh        Fresh
	URLs         URLs
	Proxy        Proxy
	Operations   Operations
	Logs         Logs
	Records      Records
	Syncs        Syncs
	Actions      Actions
	// Draining is closed when the process is about to stop: streams that never end by themselves do then. Nil is never.
	Draining <-chan struct{}
	// Ready reports whether the process can serve; nil errors mean yes.
	Ready func(ctx context.Context) error
}

// Server is the public API as an http.Handler.
type Server struct {
	opts   Options
	router router
}

// New makes a Server.
func New(opts Options) *Server {
	if opts.MaxBody == 0 {
		opts.MaxBody = DefaultMaxBody
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.PublicURL = strings.TrimSuffix(opts.PublicURL, "/")
	s := &Server{opts: opts}
	s.routes()
	return s
}

// request is an HTTP request on its way to a handler.
type request struct {
	*http.Request

	params    params
	principal *tenant.Principal // nil on routes without authentication
}

// env is the id of the caller's environment.
func (r *request) env() int64 { return r.principal.Environment.ID }

// query is the parsed query string. Malformed pairs are dropped, as the reference does.
func (r *request) query() url.Values { return r.URL.Query() }

// param is a path parameter.
func (r *request) param(name string) string { return r.params[name] }

// ServeHTTP finds the route and answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cors(w.Header())
	if r.Method == http.MethodOptions {
		preflight(w)
		return
	}
	h, found := s.router.find(r.Method, r.URL.EscapedPath())
	if h == nil {
		writeError(r.Context(), w, s.opts.Logger, errs.NotFound("No such route"))
		return
	}
	if err := h(w, &request{Request: r, params: found}); err != nil {
		writeError(r.Context(), w, s.opts.Logger, err)
	}
}

// access says who may use a route: any key of an environment, narrowed by scopes of which one is enough.
type access []string

// anyKey is access for every key of an environment.
var anyKey = access{}

// json registers a JSON route of the API.
func (s *Server) json(method, pattern string, who access, h handler) {
	s.router.handle(method, pattern, func(w http.ResponseWriter, r *request) error {
		if err := jsonContent(r.Request); err != nil {
			return err
		}
		if err := s.authenticate(r, who); err != nil {
			return err
		}
		return h(w, r)
	})
}

func (s *Server) authenticate(r *request, who access) error {
	token, err := tenant.ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	principal, err := s.opts.Tenants.Authenticate(r.Context(), token)
	if err != nil {
		return err
	}
	if len(who) > 0 {
		if err := principal.Require(who...); err != nil {
			return err
		}
	}
	if principal.Environment.ID == 0 {
		return forbid("This endpoint needs a key of an environment")
	}
	r.principal = &principal
	return nil
}

// jsonContent refuses a body that says it is something else than JSON. A missing Content-Type is fine.
func jsonContent(r *http.Request) error {
	if contentType := r.Header.Get("Content-Type"); contentType != "" && !strings.HasPrefix(strings.ToLower(contentType), "application/json") {
		return errs.New(http.StatusUnsupportedMediaType, "invalid_content_type", "Content-Type must be application/json")
	}
	return nil
}

// body reads the whole request body, which must be JSON or empty.
func (s *Server) body(r *request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, s.opts.MaxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, errs.Newf(http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, errs.New(http.StatusBadRequest, "invalid_json", "The body could not be read").Because(err)
	}
	if len(data) > 0 && !validJSON(data) {
		return nil, errs.New(http.StatusBadRequest, "invalid_json", "The body is not valid JSON")
	}
	return data, nil
}

// onlyBody is body for routes that take no query parameter.
func (s *Server) onlyBody(r *request) ([]byte, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	return s.body(r)
}

// noQuery refuses any query parameter.
func noQuery(r *request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	return strictQuery(r).Err("invalid_query_params")
}
