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
	// Unknown are the integrations that are not there. Plan lists their syncs and actions as new, Deploy refuses them; on-event
	// functions of such an integration are left out by both.
	Unknown []string
}

// Destructive reports whether data of connections is lost.
func (p Plan) Destructive() bool {
	loses := func(c Change) bool { return c.Old.Type == Sync && c.Connections > 0 }
	return len(p.DeletedModels) > 0 || slices.ContainsFunc(p.Deleted, loses)
}

// Errors of a deployment.
var (
	ErrConcurrent = errs.New(http.StatusConflict, "concurrent_deployment",
		"Another deployment of this environment is running: try again when it has ended").AsLegacy()
	ErrUnsafe = errs.New(http.StatusBadRequest, "deploy_script_security_rejected",
		"The function builds code at run time with .constructor(…), which is not allowed").AsLegacy()
)

func unknownIntegration(key string) error {
	refusal := errs.Newf(http.StatusBadRequest, "unknown_provider_config",
		"There is no integration %q in this environment: create it first", key)
	return refusal.AsLegacy().WithPayload(map[string]string{"providerConfigKey": key})
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
			return fmt.Errorf("lock environment %d: %w", e.ID, err)
		}
		existing, err := s.opts.Store.List(ctx, e.ID, 0)
		if err != nil {
			return fmt.Errorf("list functions: %w", err)
		}
		if plan, err = s.plan(ctx, e, d, existing); err != nil {
			return err
		}
		for _, c := range d.Functions {
			if c.Type != OnEvent && slices.Contains(plan.Unknown, c.Integration) {
				return unknownIntegration(c.Integration)
			}
		}
		if err := s.insertTexts(ctx, d, plan); err != nil {
			return err
		}
		return s.apply(ctx, e, plan)
	})
	if err != nil {
		return Plan{}, err
	}
	s.empty() // the note comes later
	return plan, nil
}

// dynamicCode is code made from text by way of a function's constructor: called at once, or kept in a variable first. The runtime
// has no eval and no Function either; this refusal names the function before it ever runs.
var dynamicCode = regexp.MustCompile(`(?:\.|\[\s*['"])constructor(?:['"]\s*\])?\s*\(\s*[^)\s]` +
	`|\b(?:const|let|var)\s+[\w$]+\s*=\s*[\w$.()\[\]]*(?:\.constructor|\[['"]constructor['"]\])\s*[;,\n]`)

func acceptable(c Compiled) error {
	if dynamicCode.MatchString(c.JS) {
		return ErrUnsafe.WithPayload(map[string]string{"syncName": c.Name, "providerConfigKey": c.Integration})
	}
	return nil
}

// planner compares a deployment with what is there.
type planner struct {
	*Service
	Plan

	environment tenant.Environment
	deployment  Deployment
	source      string
	existing    map[key]*Function
	named       map[key]bool
	// integrations and connections are by key and id; nil is an integration that is not there.
	integrations map[string]*integration.Integration
	connections  map[int64]int
}

func (s *Service) plan(ctx context.Context, e tenant.Environment, d Deployment, existing []Function) (Plan, error) {
	p := planner{
		Service: s, environment: e, deployment: d, source: d.Source, existing: map[key]*Function{}, named: map[key]bool{},
		integrations: map[string]*integration.Integration{}, connections: map[int64]int{},
	}
	if p.source == "" {
		p.source = FromRepo
	}
	for i := range existing {
		p.existing[existing[i].key()] = &existing[i]
	}
	for i := range d.Functions {
		if err := p.add(ctx, &d.Functions[i]); err != nil {
			return Plan{}, err
		}
	}
	if err := p.deletions(ctx, existing); err != nil {
		return Plan{}, err
	}
	return p.Plan, nil
}

func (p *planner) add(ctx context.Context, c *Compiled) error {
	p.named[c.key()] = true
	i, err := p.integration(ctx, c.Integration)
	if err != nil {
		return err
	}
	if i == nil {
		if c.Type == OnEvent {
			return nil
		}
		i = &integration.Integration{Key: c.Integration}
	}
	old := p.existing[c.key()]
	next := &Function{
		Definition: c.Definition, EnvironmentID: p.environment.ID, IntegrationID: i.ID, Integration: i.Key, Provider: i.Provider,
		Name: c.Name, Enabled: old == nil || old.Enabled, Source: p.source, SDKVersion: p.deployment.SDKVersion,
		JSHash: Hash(c.JS), TSHash: Hash(c.TS), DeployedAt: p.opts.Now().UTC(), js: c.JS,
	}
	next.Version = nextVersion(old, next)
	connections, err := p.countConnections(ctx, i.ID)
	if err != nil {
		return err
	}
	change := Change{old, next, connections}
	switch {
	case old == nil:
		p.Created = append(p.Created, change)
	case same(old, next):
		p.Unchanged = append(p.Unchanged, change)
	default:
		p.Updated = append(p.Updated, change)
	}
	if old != nil && old.Source == FromRepo && p.deployment.Mode != Single && connections > 0 {
		p.DeletedModels = append(p.DeletedModels, missing(old, next)...)
	}
	return nil
}

// integration finds an integration once; nil when there is none.
func (p *planner) integration(ctx context.Context, name string) (*integration.Integration, error) {
	if i, ok := p.integrations[name]; ok {
		return i, nil
	}
	i, err := p.opts.Integrations.Get(ctx, p.environment.ID, name)
	if errors.Is(err, integration.ErrNotFound) {
		i = nil
		p.Unknown = append(p.Unknown, name)
	} else if err != nil {
		return nil, err
	}
	p.integrations[name] = i
	return i, nil
}

func (p *planner) countConnections(ctx context.Context, integrationID int64) (int, error) {
	if n, ok := p.connections[integrationID]; ok {
		return n, nil
	}
	n, err := p.opts.Store.CountConnections(ctx, integrationID)
	if err != nil {
		return 0, fmt.Errorf("count the connections of integration %d: %w", integrationID, err)
	}
	p.connections[integrationID] = n
	return n, nil
}

// deletions finds what the deployment no longer names. A deployment without syncs and actions deletes neither: an empty one is
// more often a mistake than a wish.
func (p *planner) deletions(ctx context.Context, existing []Function) error {
	d := p.deployment
	if d.Mode == Single || d.KeepMissing || len(d.Functions) == 0 {
		return nil
	}
	flows := slices.ContainsFunc(d.Functions, func(c Compiled) bool { return c.Type != OnEvent })
	for i := range existing {
		old := &existing[i]
		switch {
		case p.named[old.key()], old.Source != FromRepo, old.Type == OnEvent && !d.OnEvents, old.Type != OnEvent && !flows,
			d.Mode == OneIntegration && old.Integration != d.Functions[0].Integration:
			continue
		}
		connections, err := p.countConnections(ctx, old.IntegrationID)
		if err != nil {
			return err
		}
		p.Deleted = append(p.Deleted, Change{Old: old, Connections: connections})
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
		if next.Type == OnEvent {
			return "0.0.1"
		}
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

// insertTexts stores what is new. What has not changed is there.
func (s *Service) insertTexts(ctx context.Context, d Deployment, plan Plan) error {
	wanted := map[key]bool{}
	for _, change := range slices.Concat(plan.Created, plan.Updated) {
		wanted[change.New.key()] = true
	}
	for _, c := range d.Functions {
		if !wanted[c.key()] {
			continue
		}
		for _, text := range []string{c.JS, c.TS} {
			if err := s.opts.Store.InsertText(ctx, Hash(text), text); err != nil {
				return fmt.Errorf("store the text of %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

// apply makes the changes of a plan and tells everybody.
func (s *Service) apply(ctx context.Context, e tenant.Environment, plan Plan) error {
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
