package api

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
)

// planHeader asks for the whole plan in the answer of a confirmation. Other clients get what they know and no more.
const planHeader = "Patchbay-Plan"

// confirmDeploy tells what a deployment would change.
func (s *Server) confirmDeploy(w http.ResponseWriter, r *request) error {
	d, err := s.readDeploy(r, false)
	if err != nil {
		return err
	}
	plan, err := s.opts.Functions.Plan(r.Context(), r.principal.Environment, d)
	if err != nil {
		return err
	}
	view := viewDifferences(plan, d.OnEvents)
	if r.Header.Get(planHeader) != "" {
		view.Plan = viewPlan(plan)
	}
	return writeJSON(w, http.StatusOK, view)
}

// deploy makes the environment have what the body says.
func (s *Server) deploy(w http.ResponseWriter, r *request) error {
	d, err := s.readDeploy(r, true)
	if err != nil {
		return err
	}
	if len(d.Functions) == 0 { // as for other clients, nothing is neither stored nor deleted
		return writeJSON(w, http.StatusOK, []deployedView{})
	}
	plan, err := s.opts.Functions.Deploy(r.Context(), r.principal.Environment, d)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewDeployed(d, plan))
}

func (s *Server) readDeploy(r *request, deploying bool) (function.Deployment, error) {
	if err := cliVersion(r.UserAgent()); err != nil {
		return function.Deployment{}, err
	}
	if err := noQuery(r); err != nil {
		return function.Deployment{}, err
	}
	body, err := s.body(r)
	if err != nil {
		return function.Deployment{}, err
	}
	return readDeployment(body, deploying)
}

var cliAgent = regexp.MustCompile(`^nango-cli/(\d+)\.(\d+)\.(\d+)`)

// oldestCLI is the first release that sends what the routes of a deployment take.
var oldestCLI = [3]int{0, 39, 25}

// cliVersion refuses command lines that are too old. Other clients pass.
func cliVersion(userAgent string) error {
	parts := cliAgent.FindStringSubmatch(userAgent)
	if parts == nil {
		return nil
	}
	var version [3]int
	for i := range version {
		version[i], _ = strconv.Atoi(parts[i+1]) // digits; one that overflows is new enough
	}
	if slices.Compare(version[:], oldestCLI[:]) < 0 {
		return errs.Newf(http.StatusBadRequest, "invalid_cli_version", "This CLI is %s: update it to %d.%d.%d or later",
			strings.Join(parts[1:], "."), oldestCLI[0], oldestCLI[1], oldestCLI[2])
	}
	return nil
}

// syncDifference, actionDifference and onEventDifference are the rows of a confirmation.
type syncDifference struct {
	Name              string `json:"name"`
	ProviderConfigKey string `json:"providerConfigKey"`
	AutoStart         bool   `json:"auto_start"`
	// Connections is how many the integration has.
	Connections int `json:"connections"`
}

type actionDifference struct {
	Name              string `json:"name"`
	ProviderConfigKey string `json:"providerConfigKey"`
}

type onEventDifference struct {
	ProviderConfigKey string `json:"providerConfigKey"`
	Name              string `json:"name"`
	Event             string `json:"event"`
}

// differencesView is the answer of a confirmation. All lists are always there.
type differencesView struct {
	NewSyncs              []syncDifference    `json:"newSyncs"`
	UpdatedSyncs          []syncDifference    `json:"updatedSyncs"`
	DeletedSyncs          []syncDifference    `json:"deletedSyncs"`
	NewActions            []actionDifference  `json:"newActions"`
	UpdatedActions        []actionDifference  `json:"updatedActions"`
	DeletedActions        []actionDifference  `json:"deletedActions"`
	NewOnEventScripts     []onEventDifference `json:"newOnEventScripts"`
	UpdatedOnEventScripts []onEventDifference `json:"updatedOnEventScripts"`
	DeletedOnEventScripts []onEventDifference `json:"deletedOnEventScripts"`
	DeletedModels         []string            `json:"deletedModels"`

	Plan *planView `json:"plan,omitempty"` // for clients that ask
}

// viewDifferences counts what does not change as updated, as clients expect.
func viewDifferences(plan function.Plan, onEvents bool) *differencesView {
	v := &differencesView{
		[]syncDifference{}, []syncDifference{}, []syncDifference{}, []actionDifference{}, []actionDifference{}, []actionDifference{},
		[]onEventDifference{}, []onEventDifference{}, []onEventDifference{}, orEmpty(plan.DeletedModels), nil,
	}
	add := func(f *function.Function, connections int, syncs *[]syncDifference, actions *[]actionDifference, events *[]onEventDifference) {
		switch {
		case f.Type == function.Sync:
			*syncs = append(*syncs, syncDifference{f.Name, f.Integration, f.AutoStart && syncs != &v.DeletedSyncs, connections})
		case f.Type == function.Action:
			*actions = append(*actions, actionDifference{f.Name, f.Integration})
		case onEvents:
			*events = append(*events, onEventDifference{f.Integration, f.Name, f.Event})
		}
	}
	for _, c := range plan.Created {
		add(c.New, c.Connections, &v.NewSyncs, &v.NewActions, &v.NewOnEventScripts)
	}
	for _, c := range slices.Concat(plan.Updated, plan.Unchanged) {
		if c.New.Event != c.Old.Event { // to clients this is another function
			add(c.Old, c.Connections, nil, nil, &v.DeletedOnEventScripts)
			add(c.New, c.Connections, nil, nil, &v.NewOnEventScripts)
			continue
		}
		add(c.New, c.Connections, &v.UpdatedSyncs, &v.UpdatedActions, &v.UpdatedOnEventScripts)
	}
	for _, c := range plan.Deleted {
		add(c.Old, c.Connections, &v.DeletedSyncs, &v.DeletedActions, &v.DeletedOnEventScripts)
	}
	return v
}

// planView is the whole plan: what the rows of differencesView leave out.
type planView struct {
	Functions     []plannedView `json:"functions"`
	DeletedModels []string      `json:"deleted_models"`
	// MissingIntegrations have to be created before the deployment works.
	MissingIntegrations []string `json:"missing_integrations"`
	// Destructive plans lose data of connections.
	Destructive bool `json:"destructive"`
}

// plannedView is one function of a plan.
type plannedView struct {
	Change          string        `json:"change"` // new, changed, deleted or unchanged
	Type            function.Type `json:"type"`
	Integration     string        `json:"integration"`
	Name            string        `json:"name"`
	Version         string        `json:"version,omitempty"`
	PreviousVersion string        `json:"previous_version,omitempty"`
	Connections     int           `json:"connections"`
	// Differences says in words what is not as it was.
	Differences []string `json:"differences,omitempty"`
}

func viewPlan(plan function.Plan) *planView {
	v := &planView{[]plannedView{}, orEmpty(plan.DeletedModels), orEmpty(plan.Unknown), plan.Destructive()}
	for _, list := range []struct {
		change  string
		changes []function.Change
	}{{"new", plan.Created}, {"changed", plan.Updated}, {"deleted", plan.Deleted}, {"unchanged", plan.Unchanged}} {
		for _, c := range list.changes {
			row := plannedView{Change: list.change, Connections: c.Connections, Differences: c.Differences()}
			for _, f := range []*function.Function{c.Old, c.New} {
				if f != nil {
					row.Type, row.Integration, row.Name = f.Type, f.Integration, f.Name
				}
			}
			if c.New != nil {
				row.Version = c.New.Version
			}
			if c.Old != nil {
				row.PreviousVersion = c.Old.Version
			}
			v.Functions = append(v.Functions, row)
		}
	}
	return v
}

// deployedView is a function as a deployment answers it.
type deployedView struct {
	Name              string        `json:"name"`
	Models            []string      `json:"models"`
	Version           string        `json:"version"`
	ProviderConfigKey string        `json:"providerConfigKey"`
	Type              function.Type `json:"type"`
}

// viewDeployed lists what is there now, in the order of the request.
func viewDeployed(d function.Deployment, plan function.Plan) []deployedView {
	type key struct {
		integration, name string
		kind              function.Type
	}
	deployed := map[key]*function.Function{}
	for _, c := range slices.Concat(plan.Created, plan.Updated, plan.Unchanged) {
		deployed[key{c.New.Integration, c.New.Name, c.New.Type}] = c.New
	}
	views := []deployedView{}
	for _, c := range d.Functions {
		if f := deployed[key{c.Integration, c.Name, c.Type}]; f != nil {
			views = append(views, deployedView{f.Name, orEmpty(f.Models), f.Version, f.Integration, f.Type})
		}
	}
	return views
}
