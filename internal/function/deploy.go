package function

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Mode is what a deployment stands for, and so what it deletes.
type Mode string

// The modes.
const (
	// All is the whole environment: functions that are not named are deleted.
	All Mode = "all"
	// OneIntegration is the integration of the first function.
	OneIntegration Mode = "integration"
	// Single deletes nothing.
	Single Mode = "single"
)

// Deployment is what is to be there.
type Deployment struct {
	Functions  []Compiled
	Mode       Mode
	SDKVersion string
	// Source is FromRepo unless set. Only functions of the source repo are ever deleted.
	Source string
	// OnEvents says that on-event functions are part of the deployment; else those that are there stay.
	OnEvents bool
	// KeepMissing skips the deletion of what is not named.
	KeepMissing bool
}

// Change is one function that a deployment touches.
type Change struct {
	// Old is nil for a new function, New for a deleted one.
	Old, New *Function
	// Connections is how many connections the integration has.
	Connections int
}

// Plan is what a deployment changes. Unchanged functions are in none of the lists.
type Plan struct {
	Created, Updated, Unchanged, Deleted []Change
	// DeletedModels are models of syncs that stay, which they no longer have; their records would be orphans.
	DeletedModels []string
}

// Destructive reports whether data of connections is lost.
func (p Plan) Destructive() bool {
	return len(p.DeletedModels) > 0 || slices.ContainsFunc(p.Deleted, func(c Change) bool { return c.Old.Type == Sync && c.Connections > 0 })
}

// Errors of a deployment.
var (
	ErrConcurrent = errs.New(http.StatusConflict, "concurrent_deployment", "Another deployment of this environment is running: try again when it has ended")
	ErrUnsafe     = errs.New(http.StatusBadRequest, "deploy_script_security_rejected", "The function builds code at run time with .constructor(…), which is not allowed").AsLegacy()
)

func unknownIntegration(key string) error {
	return errs.Newf(http.StatusBadRequest, "unknown_provider_config", "There is no integration %q in this environment: create it first", key).
		AsLegacy().WithPayload(map[string]string{"providerConfigKey": key})
}

// Plan tells what Deploy would do.
func (s *Service) Plan(ctx context.Context, e tenant.Environment, d Deployment) (Plan, error) {
	existing, err := s.opts.Store.List(ctx, e.ID, 0)
	if err != nil {
		return Plan{}, fmt.Errorf("list functions: %w", err)
	}
	return s.plan(ctx, e, d, existing)
}

// Deploy makes the environment have what d says, in one transaction with what the hooks change.
func (s *Service) Deploy(ctx context.Context, e tenant.Environment, d Deployment) (Plan, error) {
	if !s.begin(e.ID) {
		return Plan{}, ErrConcurrent
	}
	defer s.end(e.ID)
	for _, c := range d.Functions {
		if err := acceptable(c); err != nil {
			return Plan{}, err
		}
	}
	var plan Plan
	err := s.opts.Store.Write(ctx, func(ctx context.Context) error {
		if err := s.opts.Store.LockEnvironment(ctx, e.ID); err != nil {
			return err
		}
		existing, err := s.opts.Store.List(ctx, e.ID, 0)
		if err != nil {
			return fmt.Errorf("list functions: %w", err)
		}
		if plan, err = s.plan(ctx, e, d, existing); err != nil {
			return err
		}
		return s.apply(ctx, e, d, plan)
	})
	if err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// dynamicCode is the one way to build code from text that the runtime can not switch off without breaking libraries.
var dynamicCode = regexp.MustCompile(`(?:\.|\[\s*['"])constructor(?:['"]\s*\])?\s*\(\s*[^)\s]`)

func acceptable(c Compiled) error {
	if dynamicCode.MatchString(c.JS) {
		return ErrUnsafe.WithPayload(map[string]string{"syncName": c.Name, "providerConfigKey": c.Integration})
	}
	return nil
}

func (s *Service) plan(ctx context.Context, e tenant.Environment, d Deployment, existing []Function) (Plan, error) {
	var plan Plan
	source := d.Source
	if source == "" {
		source = FromRepo
	}
	byKey := map[key]*Function{}
	for i := range existing {
		byKey[existing[i].key()] = &existing[i]
	}
	integrations := map[string]*integration.Integration{}
	named := map[key]bool{}
	for _, c := range d.Functions {
		named[c.key()] = true
		i, ok := integrations[c.Integration]
		if !ok {
			var err error
			if i, err = s.opts.Integrations.Get(ctx, e.ID, c.Integration); err != nil {
				if errors.Is(err, integration.ErrNotFound) {
					return plan, unknownIntegration(c.Integration)
				}
				return plan, err
			}
			integrations[c.Integration] = i
		}
		old := byKey[c.key()]
		next := &Function{
			Definition: c.Definition, EnvironmentID: e.ID, IntegrationID: i.ID, Integration: i.Key, Provider: i.Provider, Name: c.Name, Enabled: true,
			Source: source, SDKVersion: d.SDKVersion, JSHash: Hash(c.JS), TSHash: Hash(c.TS), DeployedAt: s.opts.Now().UTC(), js: c.JS,
		}
		if old != nil {
			next.Enabled = old.Enabled
		}
		next.Version = nextVersion(old, next)
		connections, err := s.opts.Store.CountConnections(ctx, i.ID)
		if err != nil {
			return plan, err
		}
		change := Change{old, next, connections}
		switch {
		case old == nil:
			plan.Created = append(plan.Created, change)
		case same(old, next):
			plan.Unchanged = append(plan.Unchanged, change)
		default:
			plan.Updated = append(plan.Updated, change)
		}
		if old != nil && connections > 0 {
			plan.DeletedModels = append(plan.DeletedModels, missing(old, next)...)
		}
	}
	if d.Mode == Single || d.KeepMissing || len(d.Functions) == 0 {
		return plan, nil
	}
	return plan, s.planDeletions(ctx, d, existing, named, &plan)
}

func (s *Service) planDeletions(ctx context.Context, d Deployment, existing []Function, named map[key]bool, plan *Plan) error {
	for i := range existing {
		old := &existing[i]
		switch {
		case named[old.key()], old.Source != FromRepo, old.Type == OnEvent && !d.OnEvents,
			d.Mode == OneIntegration && old.Integration != d.Functions[0].Integration:
			continue
		}
		connections, err := s.opts.Store.CountConnections(ctx, old.IntegrationID)
		if err != nil {
			return err
		}
		plan.Deleted = append(plan.Deleted, Change{Old: old, Connections: connections})
	}
	return nil
}

// same reports whether a deployment leaves a function as it is.
func same(old, next *Function) bool {
	return old.JSHash == next.JSHash && old.TSHash == next.TSHash && old.Version == next.Version && old.Source == next.Source &&
		old.SDKVersion == next.SDKVersion && string(encodeDefinition(old.Definition)) == string(encodeDefinition(next.Definition))
}

func missing(old, next *Function) []string {
	var gone []string
	if old.Type != Sync {
		return nil
	}
	for _, model := range old.Models {
		if !slices.Contains(next.Models, model) {
			gone = append(gone, model)
		}
	}
	return gone
}

var semver = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)$`)

// nextVersion is the author's own, or the last one raised by one when the texts have changed.
func nextVersion(old, next *Function) string {
	if next.Definition.Version != "" {
		return next.Definition.Version
	}
	if old == nil || old.Source != next.Source {
		return "1"
	}
	if old.JSHash == next.JSHash && old.TSHash == next.TSHash {
		return old.Version
	}
	if parts := semver.FindStringSubmatch(old.Version); parts != nil {
		patch, err := strconv.Atoi(parts[3])
		if err == nil {
			return fmt.Sprintf("%s.%s.%d", parts[1], parts[2], patch+1)
		}
	}
	if n, err := strconv.Atoi(strings.TrimSpace(old.Version)); err == nil {
		return strconv.Itoa(n + 1)
	}
	return old.Version
}

func (s *Service) apply(ctx context.Context, e tenant.Environment, d Deployment, plan Plan) error {
	for _, c := range d.Functions {
		for _, text := range []string{c.JS, c.TS} {
			if err := s.opts.Store.InsertText(ctx, Hash(text), text); err != nil {
				return fmt.Errorf("store the text of %s: %w", c.Name, err)
			}
		}
	}
	for _, changes := range [][]Change{plan.Created, plan.Updated} {
		for i := range changes {
			next := changes[i].New
			if old := changes[i].Old; old != nil {
				if err := s.opts.Store.Deactivate(ctx, e.ID, old.ID); err != nil {
					return fmt.Errorf("replace %s: %w", old.Name, err)
				}
			}
			var err error
			if next.ID, err = s.opts.Store.Insert(ctx, *next); err != nil {
				return fmt.Errorf("store %s: %w", next.Name, err)
			}
		}
	}
	for _, change := range plan.Deleted {
		if err := s.opts.Store.Deactivate(ctx, e.ID, change.Old.ID); err != nil {
			return fmt.Errorf("delete %s: %w", change.Old.Name, err)
		}
	}
	for _, hook := range s.opts.Hooks {
		if err := hook.Deployed(ctx, e, plan); err != nil {
			return err
		}
	}
	return s.opts.Store.Notify(ctx, topic, "")
}
