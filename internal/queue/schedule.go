package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrAlreadyRunning is returned by TriggerNow while the schedule has an unfinished job.
var ErrAlreadyRunning = errors.New("the schedule has an unfinished job")

// MinPeriod is the shortest period of a schedule: the queue looks for due schedules once a second.
const MinPeriod = time.Second

// ScheduleState says whether a schedule runs.
type ScheduleState int

// The states of a schedule.
const (
	ScheduleStarted ScheduleState = iota + 1
	SchedulePaused
	ScheduleDeleted
)

// String is the name of the state in lower case.
func (s ScheduleState) String() string {
	switch s {
	case ScheduleStarted:
		return "started"
	case SchedulePaused:
		return "paused"
	case ScheduleDeleted:
		return "deleted"
	}
	return fmt.Sprintf("ScheduleState(%d)", int(s))
}

// LastState is how a schedule's last job is doing.
type LastState int

// The states of a schedule's last job.
const (
	LastNone LastState = iota // there was none
	// LastActive: unfinished, so the schedule is not due.
	LastActive
	LastSucceeded
	LastFailed
	LastCancelled
)

// Schedule is a stored schedule.
type Schedule struct {
	Spec

	ID    int64
	Key   string
	State ScheduleState
	// Period and Anchor are the grid of the runs.
	Period time.Duration
	Anchor time.Time
	// NextAt is when it is due, if it is started and has no unfinished job; while it has one, when it would be.
	NextAt               time.Time
	LastJob              JobID
	LastState            LastState
	CreatedAt, UpdatedAt time.Time
}

// NewSchedule is a schedule to store.
type NewSchedule struct {
	Spec

	Key    string
	Period time.Duration
	// Paused is the state of a schedule that does not exist yet; one that does keeps its own.
	Paused bool
}

// ScheduleSpec is what UpsertSchedule is asked for.
type ScheduleSpec struct {
	// Key identifies the schedule in the whole database: put the environment's id in.
	Key string
	// Args are those of every job that the schedule inserts.
	Args Args
	// Period is the distance of the runs, at least MinPeriod.
	Period time.Duration
	// Paused creates the schedule without starting it. A schedule that exists keeps its state.
	Paused bool
	// Opts are those of its jobs. RunAt, Unique and GroupCap are ignored: a schedule has at most one unfinished job. Without a
	// Key of its own a job gets "schedule:" and the schedule's key, so that a job that replaces another waits for its end.
	Opts InsertOpts
}

// UpsertSchedule creates a schedule, whose first run is due at once, or changes what an existing one runs and how often. An
// unfinished job is left as it is. A deleted schedule is created anew.
func (c *Client) UpsertSchedule(ctx context.Context, s ScheduleSpec) error {
	spec, err := newSpec(s.Args, s.Opts)
	if err == nil {
		err = errors.Join(checkName("schedule", s.Key), checkPeriod(s.Period))
	}
	if err == nil && s.Key == "" {
		err = errors.New("it has no key")
	}
	if err != nil {
		return fmt.Errorf("schedule %s: %w", s.Key, err)
	}
	if spec.Key == "" {
		spec.Key, spec.KeyLimit = "schedule:"+s.Key, 1
	}
	return c.change(ctx, s.Key, func(ctx context.Context, now time.Time) error {
		return c.store.PutSchedule(ctx, now, NewSchedule{Spec: spec, Key: s.Key, Period: s.Period, Paused: s.Paused})
	})
}

// Pause keeps a schedule from becoming due and cancels its job if that has not started. A job that runs is left alone: its id
// is the schedule's LastJob, for Cancel. Pausing twice is fine.
func (c *Client) Pause(ctx context.Context, key string) error {
	return c.setState(ctx, key, SchedulePaused)
}

// Resume starts a paused schedule. It runs at once if it was due meanwhile.
func (c *Client) Resume(ctx context.Context, key string) error {
	return c.setState(ctx, key, ScheduleStarted)
}

// DeleteSchedule ends a schedule and cancels its job, running or not.
func (c *Client) DeleteSchedule(ctx context.Context, key string) error {
	return c.setState(ctx, key, ScheduleDeleted)
}

func (c *Client) setState(ctx context.Context, key string, state ScheduleState) error {
	return c.change(ctx, key, func(ctx context.Context, now time.Time) error {
		done, err := c.store.SetState(ctx, now, key, state)
		if err != nil {
			return err
		}
		return c.cancelled(ctx, done)
	})
}

// SetPeriod changes how often a schedule runs. Its next run moves to the first point of the new grid, which has the same
// anchor, that is not past. The period it already has changes nothing.
func (c *Client) SetPeriod(ctx context.Context, key string, period time.Duration) error {
	if err := checkPeriod(period); err != nil {
		return fmt.Errorf("schedule %s: %w", key, err)
	}
	return c.change(ctx, key, func(ctx context.Context, now time.Time) error {
		return c.store.SetPeriod(ctx, now, key, period)
	})
}

// TriggerOpts are the options of TriggerNow.
type TriggerOpts struct {
	// Args replace those of the schedule for this run; nil keeps them. Their kind must be the schedule's.
	Args Args
	// Replace cancels an unfinished job instead of failing with ErrAlreadyRunning. If that job runs, the new one waits for
	// its end, by the Key they share.
	Replace bool
}

// TriggerNow inserts a job of the schedule at once, also when the schedule is paused. When that job ends, the next run is on
// the grid as usual.
func (c *Client) TriggerNow(ctx context.Context, key string, opts TriggerOpts) (JobID, error) {
	var args *string
	if opts.Args != nil {
		data, err := json.Marshal(opts.Args)
		if err != nil {
			return 0, fmt.Errorf("schedule %s: %w", key, err)
		}
		text := string(data)
		args = &text
	}
	var id JobID
	err := c.change(ctx, key, func(ctx context.Context, now time.Time) error {
		if err := c.checkKind(ctx, key, opts.Args); err != nil {
			return err
		}
		var done Cancellation
		var err error
		if id, done, err = c.store.Trigger(ctx, now, key, args, opts.Replace); err != nil {
			return err
		}
		return c.cancelled(ctx, done)
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

func (c *Client) checkKind(ctx context.Context, key string, args Args) error {
	if args == nil {
		return nil
	}
	all, err := c.store.SchedulesByKey(ctx, []string{key})
	if err == nil && len(all) > 0 && all[0].Kind != args.Kind() {
		err = fmt.Errorf("it runs %s, not %s", all[0].Kind, args.Kind())
	}
	return err
}

// Schedule returns a schedule, or ErrNotFound.
func (c *Client) Schedule(ctx context.Context, key string) (Schedule, error) {
	all, err := c.store.SchedulesByKey(ctx, []string{key})
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %s: %w", key, err)
	}
	return all[0], nil
}

// Schedules returns those of keys that exist, in no order.
func (c *Client) Schedules(ctx context.Context, keys []string) ([]Schedule, error) {
	return c.store.SchedulesByKey(ctx, keys)
}

// change runs fn in a transaction and has the dispatcher look for due schedules after it.
func (c *Client) change(ctx context.Context, key string, fn func(ctx context.Context, now time.Time) error) error {
	now := c.now()
	err := c.store.Write(ctx, func(ctx context.Context) error {
		if err := fn(ctx, now); err != nil {
			return err
		}
		c.store.AfterCommit(ctx, func() { c.announce([]string{anythingDue}, time.Time{}) })
		return nil
	})
	if err != nil {
		return fmt.Errorf("schedule %s: %w", key, err)
	}
	return nil
}

func checkPeriod(period time.Duration) error {
	if period < MinPeriod {
		return fmt.Errorf("period %s is shorter than %s", period, MinPeriod)
	}
	return nil
}
