package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Jobs inserts and ends jobs.
type Jobs interface {
	Insert(ctx context.Context, args queue.Args, opts queue.InsertOpts) (queue.JobID, error)
	Cancel(ctx context.Context, id queue.JobID) error
}

// Schedules keeps schedules.
type Schedules interface {
	UpsertSchedule(ctx context.Context, s queue.ScheduleSpec) error
	Pause(ctx context.Context, key string) error
	Resume(ctx context.Context, key string) error
	DeleteSchedule(ctx context.Context, key string) error
	SetPeriod(ctx context.Context, key string, period time.Duration) error
	TriggerNow(ctx context.Context, key string, opts queue.TriggerOpts) (queue.JobID, error)
	Schedules(ctx context.Context, keys []string) ([]queue.Schedule, error)
}

// Queue is package queue as it is used here.
type Queue interface {
	Jobs
	Schedules
}

// Deployed lists what is deployed.
type Deployed interface {
	List(ctx context.Context, environmentID, integrationID int64) ([]function.Function, error)
}

// InstancesOptions are what NewInstances needs. All are required but Now.
type InstancesOptions struct {
	Store     Store
	Queue     Queue
	Functions Deployed
	Now       func() time.Time
}

// Instances keeps the instances of syncs in step with connections and deployments. It is a connection.Hooks and a function.Hooks,
// apart from Service, which needs the services that call these hooks.
type Instances struct{ opts InstancesOptions }

var (
	_ connection.Hooks = (*Instances)(nil)
	_ function.Hooks   = (*Instances)(nil)
)

// NewInstances makes Instances.
func NewInstances(opts InstancesOptions) *Instances {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Instances{opts}
}

func scheduleKey(environmentID int64, syncID string) string {
	return "environment:" + strconv.FormatInt(environmentID, 10) + ":sync:" + syncID
}

// The queues of this package and how many jobs of each a process should run at once. A sync waits for third parties most of its
// time, so there are many more of them than processors; purges only load the database.
const (
	SyncQueue   = "sync"
	ActionQueue = "action"
	PurgeQueue  = "purge"

	SyncWorkers   = 100
	ActionWorkers = 50
	PurgeWorkers  = 1
)

// syncsPerEnvironment is how many syncs of an environment run at once (wire contract).
const syncsPerEnvironment = 500

// syncTimeout ends a sync job whose run did not end by its own limits; it is longer than any of them.
const syncTimeout = 25 * time.Hour

// Stored implements connection.Hooks: every sync function of the integration gets an instance.
func (s *Instances) Stored(ctx context.Context, c *connection.Connection, _ connection.Operation) error {
	functions, err := s.opts.Functions.List(ctx, c.EnvironmentID, c.IntegrationID)
	if err != nil {
		return fmt.Errorf("list the functions of %s: %w", c.IntegrationKey, err)
	}
	for i := range functions {
		f := &functions[i]
		if f.Type != function.Sync || !f.Enabled {
			continue
		}
		if _, err := s.create(ctx, f, c.ID, record.Base); err != nil {
			return err
		}
	}
	return nil
}

// create makes an instance and its schedule, unless there is one.
func (s *Instances) create(ctx context.Context, f *function.Function, connectionID int64, variant string) (Sync, error) {
	frequency, err := function.ParseFrequency(f.Frequency)
	if err != nil {
		return Sync{}, fmt.Errorf("frequency of %s: %w", f.Name, err)
	}
	y := Sync{
		ID: uuid.NewString(), EnvironmentID: f.EnvironmentID, ConnectionID: connectionID, IntegrationID: f.IntegrationID,
		Integration: f.Integration, Name: f.Name,
		Variant: variant, CreatedAt: s.opts.Now().UTC(),
	}
	created, err := s.opts.Store.InsertSync(ctx, y)
	if err != nil || !created {
		return y, err
	}
	environment := strconv.FormatInt(y.EnvironmentID, 10)
	err = s.opts.Queue.UpsertSchedule(ctx, queue.ScheduleSpec{
		Key: y.schedule(), Args: syncArgs{EnvironmentID: y.EnvironmentID, SyncID: y.ID}, Period: frequency.Period, Paused: !f.AutoStart,
		Opts: queue.InsertOpts{
			Queue: SyncQueue, Tenant: y.EnvironmentID, Group: "sync:environment:" + environment, GroupLimit: syncsPerEnvironment,
			MaxAttempts: 1, Timeout: syncTimeout,
		},
	})
	if err != nil {
		return y, fmt.Errorf("schedule %s: %w", f.Name, err)
	}
	return y, nil
}

// Deleted implements connection.Hooks: the instances go, and a job deletes the records.
func (s *Instances) Deleted(ctx context.Context, c *connection.Connection) error {
	all, err := s.opts.Store.Syncs(ctx, c.EnvironmentID, SyncFilter{ConnectionID: c.ID})
	if err != nil {
		return fmt.Errorf("list the syncs of connection %d: %w", c.ID, err)
	}
	for i := range all {
		if err := s.remove(ctx, &all[i]); err != nil {
			return err
		}
	}
	_, err = s.opts.Queue.Insert(ctx, purgeConnectionArgs{c.EnvironmentID, c.ID}, purgeOpts(c.EnvironmentID))
	return err
}

// remove deletes an instance; a run of it is aborted.
func (s *Instances) remove(ctx context.Context, y *Sync) error {
	if err := s.opts.Queue.DeleteSchedule(ctx, y.schedule()); err != nil && !errors.Is(err, queue.ErrNotFound) {
		return fmt.Errorf("unschedule %s: %w", y.Name, err)
	}
	if err := s.opts.Store.DeleteSync(ctx, y.EnvironmentID, y.ID); err != nil {
		return fmt.Errorf("delete sync %s: %w", y.Name, err)
	}
	return nil
}

// Deployed implements function.Hooks: connections that exist get instances of new syncs, changed frequencies take effect, and what
// is gone is unscheduled at once and its records are deleted by jobs.
func (s *Instances) Deployed(ctx context.Context, e tenant.Environment, p function.Plan) error {
	var orphans []orphan
	for _, changes := range [][]function.Change{p.Created, p.Updated, p.Unchanged} {
		for _, change := range changes {
			if change.New.Type != function.Sync {
				continue
			}
			if err := s.deployed(ctx, change.New); err != nil {
				return err
			}
			if change.Old != nil {
				orphans = append(orphans, orphan{change.Old, gone(change.Old.Models, change.New.Models), false})
			}
		}
	}
	for _, change := range p.Deleted {
		if change.Old.Type == function.Sync {
			orphans = append(orphans, orphan{change.Old, change.Old.Models, true})
		}
	}
	for _, o := range orphans {
		if err := s.abandon(ctx, e, o); err != nil {
			return err
		}
	}
	return nil
}

// orphan are models that a sync has no longer.
type orphan struct {
	function *function.Function
	models   []string
	deleted  bool // the sync itself is gone
}

func gone(old, next []string) []string {
	return slices.DeleteFunc(slices.Clone(old), func(m string) bool { return slices.Contains(next, m) })
}

// deployed brings the instances of a sync in line with its definition.
func (s *Instances) deployed(ctx context.Context, f *function.Function) error {
	frequency, err := function.ParseFrequency(f.Frequency)
	if err != nil {
		return fmt.Errorf("frequency of %s: %w", f.Name, err)
	}
	all, err := s.opts.Store.Syncs(ctx, f.EnvironmentID, SyncFilter{IntegrationID: f.IntegrationID, Name: f.Name})
	if err != nil {
		return err
	}
	have := map[int64]bool{}
	for i := range all {
		have[all[i].ConnectionID] = have[all[i].ConnectionID] || all[i].Variant == record.Base
		if all[i].Frequency != "" {
			continue
		}
		if err := s.opts.Queue.SetPeriod(ctx, all[i].schedule(), frequency.Period); err != nil {
			return err
		}
	}
	connections, err := s.opts.Store.ConnectionsOf(ctx, f.EnvironmentID, f.IntegrationID)
	if err != nil {
		return err
	}
	for _, id := range connections {
		if have[id] || !f.Enabled {
			continue
		}
		if _, err := s.create(ctx, f, id, record.Base); err != nil {
			return err
		}
	}
	return nil
}

// abandon has the records deleted that nobody keeps up to date any more. A model that another sync took over stays.
func (s *Instances) abandon(ctx context.Context, e tenant.Environment, o orphan) error {
	if len(o.models) == 0 && !o.deleted {
		return nil
	}
	functions, err := s.opts.Functions.List(ctx, e.ID, o.function.IntegrationID)
	if err != nil {
		return err
	}
	models := slices.DeleteFunc(slices.Clone(o.models), func(m string) bool {
		return slices.ContainsFunc(functions, func(f function.Function) bool { return f.Type == function.Sync && slices.Contains(f.Models, m) })
	})
	all, err := s.opts.Store.Syncs(ctx, e.ID, SyncFilter{IntegrationID: o.function.IntegrationID, Name: o.function.Name})
	if err != nil {
		return err
	}
	for i := range all {
		y := &all[i]
		args := purgeSyncArgs{EnvironmentID: e.ID, ConnectionID: y.ConnectionID}
		for _, model := range models {
			args.Models = append(args.Models, record.FullModel(model, y.Variant))
		}
		if o.deleted {
			args.Checkpoint = y.checkpoint()
			if err := s.remove(ctx, y); err != nil {
				return err
			}
		}
		if _, err := s.opts.Queue.Insert(ctx, args, purgeOpts(e.ID)); err != nil {
			return err
		}
	}
	return nil
}

func purgeOpts(environmentID int64) queue.InsertOpts {
	return queue.InsertOpts{Queue: PurgeQueue, Tenant: environmentID, MaxAttempts: 20, GroupCap: -1}
}
