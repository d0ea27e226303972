package queue

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
)

const (
	// tickLimit bounds how many jobs one transaction of the tick moves, and so how long it holds SQLite's only writer.
	tickLimit = 500
	// tickEvery is the shortest pause between two looks for due jobs: with thousands of schedules something is always due.
	tickEvery = 10 * time.Millisecond
	// busyPause is how long to wait for another node that is deciding on a key or group: about one commit.
	busyPause = 5 * time.Millisecond
	// pruneEvery is how often old dead jobs are deleted.
	pruneEvery = time.Hour
	// deletedFor is how long a deleted schedule is kept: 5 days (wire contract).
	deletedFor = 5 * 24 * time.Hour
)

// parts is everything a started client runs.
type parts struct {
	dispatching sync.WaitGroup
	jobs        sync.WaitGroup
	helpers     sync.WaitGroup

	stopDispatch context.CancelCauseFunc
	work         context.Context // of the running jobs
	stopWork     context.CancelCauseFunc
	stopHelpers  context.CancelCauseFunc
	unlisten     []func()

	once sync.Once
	done chan struct{}
}

// Start implements lifecycle.Service.
func (c *Client) Start(ctx context.Context) error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return lifecycle.ErrStopped
	}
	if c.parts != nil {
		return nil
	}
	if c.config.Alone && len(c.lanes) > 0 {
		if err := c.takeBackAll(ctx); err != nil {
			return err
		}
	}
	ctx = context.WithoutCancel(ctx)
	p := &parts{done: make(chan struct{})}
	p.unlisten = []func(){c.store.Listen(topicReady, c.hear), c.store.Listen(topicCancel, c.hearCancel)}
	var dispatch, helpers context.Context
	dispatch, p.stopDispatch = context.WithCancelCause(ctx)
	p.work, p.stopWork = context.WithCancelCause(ctx)
	helpers, p.stopHelpers = context.WithCancelCause(ctx)
	c.parts = p
	p.helpers.Go(func() { c.sendHints(helpers) })
	if len(c.lanes) > 0 {
		p.helpers.Go(func() { c.renew(helpers) })
		p.helpers.Go(func() { c.record(helpers) })
		p.dispatching.Go(func() { c.dispatch(dispatch, p) })
	}
	return nil
}

func (c *Client) takeBackAll(ctx context.Context) error {
	for {
		n, err := c.store.TakeBack(ctx, tickLimit)
		if err != nil || n == 0 {
			return err
		}
		c.logger.InfoContext(ctx, "took back the jobs of a process that died", "jobs", n)
	}
}

// Stop implements lifecycle.Service. It claims nothing more, lets running jobs finish for Config.SoftStop, then cancels them
// with the cause lifecycle.ErrStopping and waits; a job that ends because of that is run again elsewhere. When ctx ends first
// the jobs are cancelled at once, and those that don't react lose their leases in time.
func (c *Client) Stop(ctx context.Context) error {
	c.life.Lock()
	c.closed = true
	p := c.parts
	c.life.Unlock()
	if p == nil {
		return nil
	}
	p.once.Do(func() { go c.shutDown(p) })
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.stopWork(lifecycle.ErrStopping)
		return context.Cause(ctx)
	}
}

func (c *Client) shutDown(p *parts) {
	defer close(p.done)
	p.stopDispatch(lifecycle.ErrStopping)
	p.dispatching.Wait()
	if c.config.SoftStop < 0 {
		p.stopWork(lifecycle.ErrStopping)
	}
	patience := time.AfterFunc(max(c.config.SoftStop, 0), func() { p.stopWork(lifecycle.ErrStopping) })
	p.jobs.Wait()
	patience.Stop()
	p.stopWork(lifecycle.ErrStopping)
	p.stopHelpers(lifecycle.ErrStopping)
	p.helpers.Wait()
	for _, cancel := range p.unlisten {
		cancel()
	}
}

// dispatch is the loop that looks for due and ready jobs and starts them.
func (c *Client) dispatch(ctx context.Context, p *parts) {
	c.hints.all()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var polled, pruned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hints.wake:
		case <-timer.C:
		}
		now := c.now()
		next := c.hints.nextDue()
		var err error
		if due := !next.IsZero() && !next.After(now); due && now.Sub(polled) >= tickEvery || now.Sub(polled) >= c.config.Poll {
			polled = now
			err = c.upkeep(ctx, now)
		}
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			c.prune(ctx, now)
		}
		busy := false
		for _, l := range c.lanes {
			if err == nil {
				var b bool
				b, err = c.claim(ctx, l, p)
				busy = busy || b
			}
		}
		c.health.set("dispatch", err)
		if err != nil && ctx.Err() == nil {
			c.logger.ErrorContext(ctx, "look for jobs", "err", err, "retry", c.config.Poll)
		}
		timer.Reset(c.pause(now, polled, busy, err))
	}
}

// pause is how long the dispatcher may sleep unless it is woken.
func (c *Client) pause(now, polled time.Time, busy bool, err error) time.Duration {
	until := polled.Add(c.config.Poll)
	if err != nil {
		return max(until.Sub(now), tickEvery)
	}
	if next := c.hints.nextDue(); !next.IsZero() && next.Before(until) {
		until = next
		if soonest := polled.Add(tickEvery); until.Before(soonest) {
			until = soonest
		}
	}
	if busy {
		return min(max(until.Sub(now), 0), busyPause)
	}
	return max(until.Sub(now), 0)
}

// upkeep moves what is due and finds out when something is next.
func (c *Client) upkeep(ctx context.Context, now time.Time) error {
	for ctx.Err() == nil {
		c.hints.forgetNext()
		due, err := c.store.Due(ctx)
		if err != nil {
			return err
		}
		if due.Ready {
			c.hints.all()
		}
		if due.Next.IsZero() || due.Next.After(now) {
			c.hints.due(due.Next)
			return nil
		}
		ticked, err := c.store.Tick(context.WithoutCancel(ctx), now, tickLimit)
		if err != nil {
			return err
		}
		if ticked.TakenBack > 0 {
			c.logger.WarnContext(ctx, "took back jobs whose leases ran out", "jobs", ticked.TakenBack)
		}
		c.announce(ticked.Queues, time.Time{})
		if !ticked.More { // what is left is being moved by another node, or became due just now
			due, err := c.store.Due(ctx)
			if err != nil {
				return err
			}
			c.hints.due(due.Next)
			return nil
		}
	}
	return nil
}

func (c *Client) prune(ctx context.Context, now time.Time) {
	err := c.store.Prune(ctx, now.Add(-c.config.DeadFor), c.config.DeadMost, now.Add(-deletedFor))
	if err != nil && ctx.Err() == nil {
		c.logger.WarnContext(ctx, "delete old dead jobs", "err", err)
	}
}

// claim starts ready jobs of a lane until its workers are busy or nothing is ready.
func (c *Client) claim(ctx context.Context, l *lane, p *parts) (busy bool, err error) {
	for ctx.Err() == nil {
		free := c.hints.begin(l)
		if free == 0 {
			return false, nil
		}
		until := c.now().Add(c.config.Lease)
		// A claim that was cut off may have been committed: then its jobs would wait for their leases to run out.
		claims, err := c.store.Claim(context.WithoutCancel(ctx), ClaimRequest{
			Queue: l.name, Max: free, Token: 1 + rand.Int64N(1<<62), Until: until,
		})
		if err != nil {
			c.hints.started(l, 0, true)
			return false, err
		}
		c.hints.started(l, len(claims.Jobs), claims.More || claims.Busy)
		for _, row := range claims.Jobs {
			p.jobs.Go(func() {
				defer c.hints.ended(l)
				c.execute(p.work, row, until)
			})
		}
		c.announce(claims.Wake, time.Time{})
		if claims.Busy {
			return true, nil
		}
	}
	return false, nil
}
