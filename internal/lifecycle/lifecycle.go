// Package lifecycle is the contract of everything that runs in the background: how it starts, how it stops, and how it says
// that it is not well.
//
// A [Service] starts without blocking and stops by waiting; both may be called twice. Its goroutines live under a context that
// is cancelled with the cause [ErrStopping], so code can tell a shutdown from a caller that gave up. A [Group] starts services
// in order, stops them in reverse, and collects their health. A [Loop] turns a plain function into a service and keeps it
// running: a failure makes that one part unhealthy and is retried, and never takes the process or its neighbours down.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// ErrStopping is the cause with which a service's context is cancelled when the service is asked to stop.
var ErrStopping = errors.New("stopping")

// ErrStopped is returned by Start of a service that was stopped: a service lives once.
var ErrStopped = errors.New("already stopped")

// Service is a part that runs in the background.
type Service interface {
	// Name is how logs and the health report call it: lower case, stable, unique within its group.
	Name() string
	// Start begins the work and returns. ctx bounds the start alone; the work outlives it. Starting twice does nothing.
	Start(ctx context.Context) error
	// Stop ends the work and waits for it, or until ctx ends; then it returns the cause and what runs is abandoned. Stopping
	// twice, or what never started, is fine.
	Stop(ctx context.Context) error
}

// Checker is a service that knows whether it is well. A service without it is healthy while it runs.
type Checker interface {
	// Health is nil, or why the service does not do its work. It must not block.
	Health() error
}

// State is where a service is in its life.
type State string

// The states of a service in a group.
const (
	Waiting State = "waiting"
	Running State = "running"
	Failed  State = "failed" // did not start
	Stopped State = "stopped"
)

// Status is one line of a health report.
type Status struct {
	Name  string
	State State
	// Err says what is wrong; nil for a service that is well.
	Err error
}

// Report is the health of a group, in start order.
type Report []Status

// Healthy reports whether every service runs and none complains.
func (r Report) Healthy() bool {
	return !slices.ContainsFunc(r, func(s Status) bool { return s.State != Running || s.Err != nil })
}

// Group is a service made of services.
type Group struct {
	name   string
	logger *slog.Logger

	turn sync.Mutex // one start or stop at a time

	mu      sync.Mutex
	members []member
	started bool
	stopped bool
}

type member struct {
	service Service
	state   State
	err     error
}

// NewGroup makes an empty group. A nil logger means slog.Default.
func NewGroup(name string, logger *slog.Logger) *Group {
	if logger == nil {
		logger = slog.Default()
	}
	return &Group{name: name, logger: logger}
}

// Add appends services; they start after those added before. Adding to a group that has started is a mistake and panics.
func (g *Group) Add(services ...Service) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started || g.stopped {
		panic("lifecycle: service added to " + g.name + " after its start")
	}
	for _, s := range services {
		g.members = append(g.members, member{service: s, state: Waiting})
	}
}

// Name implements Service.
func (g *Group) Name() string { return g.name }

// Start starts the services in order. When one fails, those already started are stopped in reverse and its error is returned.
func (g *Group) Start(ctx context.Context) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	g.mu.Lock()
	members, started, stopped := g.members, g.started, g.stopped
	g.started = true
	g.mu.Unlock()
	switch {
	case stopped:
		return fmt.Errorf("start %s: %w", g.name, ErrStopped)
	case started:
		return nil
	}
	for i, m := range members {
		if err := m.service.Start(ctx); err != nil {
			err = fmt.Errorf("start %s: %w", m.service.Name(), err)
			g.set(i, Failed, err)
			return errors.Join(err, g.stopAll(context.WithoutCancel(ctx)))
		}
		g.set(i, Running, nil)
	}
	return nil
}

// Stop stops the services in reverse order, each even when another failed to stop, and returns their errors joined.
func (g *Group) Stop(ctx context.Context) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	return g.stopAll(ctx)
}

func (g *Group) stopAll(ctx context.Context) error {
	g.mu.Lock()
	g.stopped = true
	members := slices.Clone(g.members)
	g.mu.Unlock()
	var all []error
	for i, m := range slices.Backward(members) {
		if m.state != Running {
			continue
		}
		err := m.service.Stop(ctx)
		if err != nil {
			err = fmt.Errorf("stop %s: %w", m.service.Name(), err)
			all = append(all, err)
		}
		g.set(i, Stopped, err)
		g.logger.DebugContext(ctx, "stopped", "service", m.service.Name(), "err", err)
	}
	return errors.Join(all...)
}

func (g *Group) set(i int, state State, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[i].state, g.members[i].err = state, err
}

// Report asks every running service how it is.
func (g *Group) Report() Report {
	g.mu.Lock()
	members := slices.Clone(g.members)
	g.mu.Unlock()
	report := make(Report, 0, len(members))
	for _, m := range members {
		status := Status{Name: m.service.Name(), State: m.state, Err: m.err}
		if checker, ok := m.service.(Checker); ok && m.state == Running {
			status.Err = checker.Health()
		}
		report = append(report, status)
	}
	return report
}

// Health implements Checker: the complaints of the group's services, each with its name.
func (g *Group) Health() error {
	var all []error
	for _, s := range g.Report() {
		if s.Err != nil {
			all = append(all, fmt.Errorf("%s: %w", s.Name, s.Err))
		}
	}
	return errors.Join(all...)
}
