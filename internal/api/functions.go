package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Functions are the rules of deployed functions.
type Functions interface {
	Plan(ctx context.Context, e tenant.Environment, d function.Deployment) (function.Plan, error)
	Deploy(ctx context.Context, e tenant.Environment, d function.Deployment) (function.Plan, error)
	// List gives the active functions by integration, type and name; integrationID 0 means all.
	List(ctx context.Context, environmentID, integrationID int64) ([]function.Function, error)
	Source(ctx context.Context, f *function.Function) (string, error)
	Delete(ctx context.Context, e tenant.Environment, f *function.Function) error
}

func (s *Server) functionRoutes() {
	deploy := access{tenant.ScopeDeploy}
	s.json(http.MethodPost, "/sync/deploy/confirmation", deploy, s.confirmDeploy)
	s.json(http.MethodPost, "/sync/deploy", deploy, s.deploy)
	s.json(http.MethodGet, "/scripts/config", access{tenant.ScopeIntegrationsListFunctions}, s.scriptsConfig)
	s.json(http.MethodGet, "/integrations/:uniqueKey/functions", access{tenant.ScopeFunctionsList}, s.listFunctions)
	s.json(http.MethodGet, "/integrations/:uniqueKey/functions/:name", access{tenant.ScopeFunctionsRead}, s.getFunction)
	s.json(http.MethodDelete, "/integrations/:uniqueKey/functions/:name", access{tenant.ScopeFunctionsDelete}, s.deleteFunction)
	s.json(http.MethodGet, "/integrations/:uniqueKey/functions/:name/code", access{tenant.ScopeFunctionsRead}, s.functionCode)
}

// functionView is the public shape of a function. Which members are there depends on its type.
type functionView struct {
	Name         string            `json:"name"`
	Type         function.Type     `json:"type"`
	Description  string            `json:"description,omitempty"`
	Scopes       []string          `json:"scopes,omitempty"`
	Input        string            `json:"input,omitempty"`
	Returns      []string          `json:"returns,omitzero"`
	JSONSchema   json.RawMessage   `json:"json_schema,omitempty"` // null, not absent, for syncs and actions without one
	Runs         *nullable[string] `json:"runs,omitempty"`
	AutoStart    *bool             `json:"auto_start,omitempty"`
	TrackDeletes *bool             `json:"track_deletes,omitempty"`
	Event        string            `json:"event,omitempty"`
	ID           int64             `json:"id"`
	Enabled      bool              `json:"enabled"`
	LastDeployed string            `json:"last_deployed"`
	Source       string            `json:"source"`
}

// nullable is a member that is there even when it is null.
type nullable[T any] struct{ value *T }

// MarshalJSON implements json.Marshaler.
func (n nullable[T]) MarshalJSON() ([]byte, error) { return json.Marshal(n.value) }

func viewFunction(f *function.Function) functionView {
	v := functionView{Name: f.Name, Type: f.Type, ID: f.ID, Enabled: f.Enabled, LastDeployed: isoZ(f.DeployedAt), Source: f.Source}
	if f.Type == function.OnEvent {
		v.Event = f.Event
		return v
	}
	v.Description, v.Scopes, v.Input = f.Description, f.Scopes, f.Input
	v.Returns, v.JSONSchema = orEmpty(f.Models), orNullJSON(f.JSONSchema)
	if f.Type == function.Sync {
		v.Runs = &nullable[string]{orNull(f.Frequency)}
		v.AutoStart, v.TrackDeletes = &f.AutoStart, &f.TrackDeletes
	}
	return v
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func orNullJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

type functionPage struct {
	Data       []functionView `json:"data"`
	Pagination struct {
		Total int `json:"total"`
		Page  int `json:"page"`
		Limit int `json:"limit"`
	} `json:"pagination"`
}

const (
	defaultFunctions = 20
	maxFunctions     = 100
	maxPageNumber    = 1 << 30
)

func readFunctionType(q *input.Reader) function.Type {
	return function.Type(q.OneOf("type", string(function.Sync), string(function.Action), string(function.OnEvent)))
}

func (s *Server) listFunctions(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	t := readFunctionType(q)
	search := strings.TrimSpace(q.String("search", input.Text{}))
	if q.Has("search") && (search == "" || len([]rune(search)) > 255) {
		q.Issue("custom", "search must have 1 to 255 characters", "search")
	}
	var page functionPage
	page.Pagination.Page = q.Int("page", 0, 0, maxPageNumber)
	page.Pagination.Limit = q.Int("limit", defaultFunctions, 1, maxFunctions)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	i, err := s.integrationParam(r)
	if err != nil {
		return err
	}
	all, err := s.opts.Functions.List(r.Context(), r.env(), i.ID)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f function.Function) bool {
		return t != "" && f.Type != t || !strings.Contains(strings.ToLower(f.Name), strings.ToLower(search))
	})
	page.Pagination.Total = len(all)
	page.Data = []functionView{}
	from := min(page.Pagination.Page*page.Pagination.Limit, len(all))
	for n := range all[from:min(from+page.Pagination.Limit, len(all))] {
		page.Data = append(page.Data, viewFunction(&all[from+n]))
	}
	return writeJSON(w, http.StatusOK, page)
}

// checkFunctionParams looks at the path alone.
func checkFunctionParams(r *request) error {
	p := input.Params(r.params)
	p.String("uniqueKey", input.IntegrationKey)
	p.String("name", input.Text{Required: true, Min: 1, Max: 255})
	return p.Err("invalid_uri_params")
}

// functionsParam finds the functions of the name in the path, of a type or of any.
func (s *Server) functionsParam(r *request, t function.Type) ([]function.Function, error) {
	if err := checkFunctionParams(r); err != nil {
		return nil, err
	}
	name := r.param("name")
	i, err := s.integrationParam(r)
	if err != nil {
		return nil, err
	}
	all, err := s.opts.Functions.List(r.Context(), r.env(), i.ID)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(f function.Function) bool { return f.Name != name || t != "" && f.Type != t })
	if len(all) == 0 {
		return nil, function.ErrNotFound
	}
	return all, nil
}

func (s *Server) getFunction(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	t := readFunctionType(q)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	found, err := s.functionsParam(r, t)
	if err != nil {
		return err
	}
	return writeData(w, viewFunction(&found[0]))
}

func (s *Server) deleteFunction(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	t := q.RequiredOneOf("type", string(function.Sync), string(function.Action))
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	found, err := s.functionsParam(r, function.Type(t))
	if err != nil {
		return err
	}
	if err := s.opts.Functions.Delete(r.Context(), r.principal.Environment, &found[0]); err != nil {
		return err
	}
	return writeData(w, success)
}

// functionCode gives the source. It checks the path before the query, unlike its neighbours.
func (s *Server) functionCode(w http.ResponseWriter, r *request) error {
	if err := checkFunctionParams(r); err != nil {
		return err
	}
	q := input.Query(r.query())
	t := readFunctionType(q)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	found, err := s.functionsParam(r, t)
	if err != nil {
		return err
	}
	if len(found) > 1 {
		type match struct {
			Type function.Type `json:"type"`
			Name string        `json:"name"`
		}
		matches := make([]match, len(found))
		for i := range found {
			matches[i] = match{found[i].Type, found[i].Name}
		}
		return errs.New(http.StatusConflict, "ambiguous_function", "Several functions have this name: say which with ?type=").
			WithPayload(map[string]any{"matches": matches})
	}
	code, err := s.opts.Functions.Source(r.Context(), &found[0])
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"type": string(found[0].Type), "code": code})
}

// scriptView is a function as /scripts/config lists it.
type scriptView struct {
	ID                   int64             `json:"id"`
	Name                 string            `json:"name"`
	Type                 function.Type     `json:"type"`
	Returns              []string          `json:"returns"`
	Description          string            `json:"description"`
	Attributes           struct{}          `json:"attributes"`
	Scopes               []string          `json:"scopes"`
	Version              string            `json:"version"`
	Source               string            `json:"source"`
	Endpoints            []endpointView    `json:"endpoints"`
	Input                string            `json:"input,omitempty"`
	Enabled              bool              `json:"enabled"`
	LastDeployed         string            `json:"last_deployed"`
	WebhookSubscriptions []string          `json:"webhookSubscriptions"`
	JSONSchema           json.RawMessage   `json:"json_schema"`
	SDKVersion           *string           `json:"sdk_version"`
	Models               []modelView       `json:"models"`
	Features             []string          `json:"features"`
	SyncType             string            `json:"sync_type,omitempty"`
	AutoStart            *bool             `json:"auto_start,omitempty"`
	Runs                 *nullable[string] `json:"runs,omitempty"`
	TrackDeletes         *bool             `json:"track_deletes,omitempty"`
}

type endpointView struct {
	Method string  `json:"method"`
	Path   string  `json:"path"`
	Group  *string `json:"group"`
}

type modelView struct {
	Name   string     `json:"name"`
	Fields []struct{} `json:"fields"`
}

// scriptsView is the functions of one integration.
type scriptsView struct {
	ProviderConfigKey string       `json:"providerConfigKey"`
	Provider          string       `json:"provider"`
	Syncs             []scriptView `json:"syncs"`
	Actions           []scriptView `json:"actions"`
	OnEvents          []scriptView `json:"on-events"` // always empty
}

// scriptsConfig lists all syncs and actions. Other parameters than format are ignored.
func (s *Server) scriptsConfig(w http.ResponseWriter, r *request) error {
	all, err := s.opts.Functions.List(r.Context(), r.env(), 0)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f function.Function) bool { return f.Type == function.OnEvent })
	if r.query().Get("format") == "openai" && len(all) > 0 {
		return writeData(w, viewTools(all))
	}
	views := []scriptsView{}
	for i := range all {
		f := &all[i]
		if n := len(views); n == 0 || views[n-1].ProviderConfigKey != f.Integration {
			views = append(views, scriptsView{f.Integration, f.Provider, []scriptView{}, []scriptView{}, []scriptView{}})
		}
		view := &views[len(views)-1]
		if f.Type == function.Sync {
			view.Syncs = append(view.Syncs, viewScript(f))
		} else {
			view.Actions = append(view.Actions, viewScript(f))
		}
	}
	return writeJSON(w, http.StatusOK, views)
}

func viewScript(f *function.Function) scriptView {
	v := scriptView{
		ID: f.ID, Name: f.Name, Type: f.Type, Returns: orEmpty(f.Models), Description: f.Description, Scopes: orEmpty(f.Scopes),
		Version: f.Version, Source: f.Source, Endpoints: []endpointView{}, Input: f.Input, Enabled: f.Enabled,
		LastDeployed: isoZ(f.DeployedAt), WebhookSubscriptions: orEmpty(f.WebhookSubscriptions),
		JSONSchema: orNullJSON(f.JSONSchema), SDKVersion: orNull(f.SDKVersion),
		Models: []modelView{}, Features: orEmpty(f.Features),
	}
	for _, e := range f.Endpoints {
		v.Endpoints = append(v.Endpoints, endpointView{e.Method, e.Path, orNull(e.Group)})
	}
	for _, name := range slices.Sorted(maps.Keys(f.Schemas())) {
		v.Models = append(v.Models, modelView{name, []struct{}{}})
	}
	if f.Type == function.Sync {
		v.SyncType, v.Runs = f.SyncType, &nullable[string]{orNull(f.Frequency)}
		v.AutoStart, v.TrackDeletes = &f.AutoStart, &f.TrackDeletes
	}
	return v
}

// toolView is a function in the form in which language models are told of tools.
type toolView struct {
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Parameters  toolParameters `json:"parameters"`
}

type toolParameters struct {
	Type       string                    `json:"type"`
	Properties map[string]map[string]any `json:"properties"`
	Required   []string                  `json:"required"`
}

// propertyLine is a line of a description that says what a property is.
var propertyLine = regexp.MustCompile(`(?m)^\s*-\s*([\w.-]+):\s*(.+?)\s*$`)

func viewTools(all []function.Function) []toolView {
	views := make([]toolView, len(all))
	for i := range all {
		f := &all[i]
		tool := toolView{f.Name, f.Description, toolParameters{"object", map[string]map[string]any{}, []string{}}}
		if f.Type == function.Action {
			tool.Parameters.read(f.Schemas()[f.Input])
		}
		for _, line := range propertyLine.FindAllStringSubmatch(f.Description, -1) {
			if property := tool.Parameters.Properties[line[1]]; property != nil {
				property["description"] = line[2]
			}
		}
		views[i] = tool
	}
	return views
}

// read takes over what a schema says. A schema that is no object has no parameters.
func (p *toolParameters) read(schema json.RawMessage) {
	var object struct {
		Properties map[string]map[string]any `json:"properties"`
		Required   []string                  `json:"required"`
	}
	if err := json.Unmarshal(schema, &object); err != nil || object.Properties == nil {
		return
	}
	p.Properties, p.Required = object.Properties, orEmpty(object.Required)
}
