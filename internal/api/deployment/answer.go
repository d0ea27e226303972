// Package deployment is the wire form of deployments: what clients send, checked to the last key, and what they are answered.
package deployment

import (
	"slices"

	"github.com/patchbay-dev/patchbay/internal/function"
)

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
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

// Differences is the answer of a confirmation. All lists are always there.
type Differences struct {
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

	Plan *Plan `json:"plan,omitempty"` // for clients that ask
}

// Compare tells what a plan changes. It counts what does not change as updated, as clients expect.
func Compare(plan function.Plan, onEvents bool) *Differences {
	v := &Differences{
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

// Plan is the whole plan: what the rows of Differences leave out.
type Plan struct {
	Functions     []Planned `json:"functions"`
	DeletedModels []string  `json:"deleted_models"`
	// MissingIntegrations have to be created before the deployment works.
	MissingIntegrations []string `json:"missing_integrations"`
	// Destructive plans lose data of connections.
	Destructive bool `json:"destructive"`
}

// Planned is one function of a plan.
type Planned struct {
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

// Describe tells everything about a plan, what changes first.
func Describe(plan function.Plan) *Plan {
	v := &Plan{[]Planned{}, orEmpty(plan.DeletedModels), orEmpty(plan.Unknown), plan.Destructive()}
	for _, list := range []struct {
		change  string
		changes []function.Change
	}{{"new", plan.Created}, {"changed", plan.Updated}, {"deleted", plan.Deleted}, {"unchanged", plan.Unchanged}} {
		for _, c := range list.changes {
			row := Planned{Change: list.change, Connections: c.Connections, Differences: c.Differences()}
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

// Deployed is a function as a deployment answers it.
type Deployed struct {
	Name              string        `json:"name"`
	Models            []string      `json:"models"`
	Version           string        `json:"version"`
	ProviderConfigKey string        `json:"providerConfigKey"`
	Type              function.Type `json:"type"`
}

// List tells what is there now, in the order of the request.
func List(d function.Deployment, plan function.Plan) []Deployed {
	type key struct {
		integration, name string
		kind              function.Type
	}
	deployed := map[key]*function.Function{}
	for _, c := range slices.Concat(plan.Created, plan.Updated, plan.Unchanged) {
		deployed[key{c.New.Integration, c.New.Name, c.New.Type}] = c.New
	}
	views := []Deployed{}
	for _, c := range d.Functions {
		if f := deployed[key{c.Integration, c.Name, c.Type}]; f != nil {
			views = append(views, Deployed{f.Name, orEmpty(f.Models), f.Version, f.Integration, f.Type})
		}
	}
	return views
}
