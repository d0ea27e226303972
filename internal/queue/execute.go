package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
)

const (
	// recordRetry is the pause before the end of a job is recorded again when the database failed.
	recordRetry = time.Second
	// recordBatch bounds how many ends share a transaction.
	recordBatch = 200
	// putBack is how long a job waits that this process can not deal with: its kind is unknown here (another release runs
	// elsewhere), or its failure handler failed.
	putBack = 30 * time.Second
)

// endRequest asks record to store an end.
type endRequest struct {
	ending Ending
	done   chan<- error
}

// stop tells the worker to stop because of cause, and remembers it even if it was told for another reason before.
func (e *execution) stop(cause error) {
	switch {
	case errors.Is(cause, ErrLeaseLost):
		e.lost.Store(true)
	case errors.Is(cause, ErrCancelled):
		e.flagged.Store(true)
	}
	e.cancel(cause)
}

// execute runs one claimed job and records its end.
func (c *Client) execute(ctx context.Context, row Claimed, until time.Time) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := &execution{client: c, row: row, worker: c.workers[row.Kind], cancel: cancel}
	e.until.Store(until.UnixNano())
	if row.Cancelled {
		e.stop(ErrCancelled)
	}
	c.running.add(e)
	defer c.running.remove(e)
	result := c.work(ctx, e)
	if !e.ended.Load() {
		c.conclude(context.WithoutCancel(ctx), e, result, errors.Is(context.Cause(ctx), lifecycle.ErrStopping))
	}
}

func (c *Client) work(ctx context.Context, e *execution) (result error) {
	switch {
	case e.flagged.Load():
		return ErrCancelled
	case e.worker == nil:
		c.logger.WarnContext(ctx, "no worker here for this kind of job", "kind", e.row.Kind, "job", e.row.ID, "retry", putBack)
		return Snooze(putBack)
	case e.row.Lost >= MaxLost:
		return Discard(ErrLostTooOften)
	}
	limit := e.timeout()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, ErrTimeout)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			c.logger.ErrorContext(ctx, "panic in a job", "kind", e.row.Kind, "job", e.row.ID, "panic", p, "stack", string(debug.Stack()))
			result = fmt.Errorf("panic: %v", p)
		}
	}()
	result = e.worker.work(ctx, e)
	if result != nil && errors.Is(context.Cause(ctx), ErrTimeout) && !said(result) {
		result = fmt.Errorf("%w (%s): %w", ErrTimeout, limit, result)
	}
	return result
}

// said reports whether a worker's error says itself what to do.
func said(result error) bool {
	var o *outcome
	return errors.As(result, &o) || errors.Is(result, ErrCancelled)
}

// conclude records the end of a run. The job is not given up when the database fails: its lease decides.
func (c *Client) conclude(ctx context.Context, e *execution, result error, stopping bool) {
	var ending Ending
	switch {
	case e.flagged.Load():
		ending = Ending{Hold: e.row.Hold, Verdict: Cancelled}
	case stopping && result != nil && !said(result):
		ending = Ending{Hold: e.row.Hold, Verdict: Later, RunAt: c.now()}
	default:
		ending = e.decide(result)
	}
	for !e.lost.Load() {
		err := c.end(ctx, e, ending, result)
		switch {
		case err == nil:
			if ending.Error != "" {
				c.report(ctx, e, ending, result)
			}
			return
		case errors.Is(err, ErrLeaseLost):
			e.lost.Store(true)
		case errors.Is(err, ErrCancelled):
			ending = Ending{Hold: e.row.Hold, Verdict: Cancelled}
		default:
			c.logger.ErrorContext(ctx, "record the end of a job", "kind", e.row.Kind, "job", e.row.ID, "err", err, "retry", recordRetry)
			<-time.After(recordRetry)
		}
	}
	c.logger.WarnContext(ctx, "a job's lease was lost while it ran", "kind", e.row.Kind, "job", e.row.ID)
}

// end stores an ending, with others that end at the same moment, or with what the worker's failure handler writes.
func (c *Client) end(ctx context.Context, e *execution, ending Ending, result error) error {
	if ending.Verdict == Failed && e.worker != nil && e.worker.failed != nil {
		return c.endFailed(ctx, e, ending, result)
	}
	done := make(chan error, 1)
	c.ends <- endRequest{ending, done}
	return <-done
}

func (c *Client) endFailed(ctx context.Context, e *execution, ending Ending, cause error) error {
	var ended Ended
	var handler error
	err := c.store.Write(ctx, func(ctx context.Context) error {
		var err error
		if ended, err = c.store.End(ctx, c.now(), []Ending{ending}); err != nil {
			return err
		}
		if err := ended.Refused[e.row.Hold]; err != nil {
			return err
		}
		handler = callFailed(ctx, e, cause)
		return handler
	})
	if handler != nil {
		c.logger.ErrorContext(ctx, "handle a failed job", "kind", e.row.Kind, "job", e.row.ID, "err", handler, "retry", putBack)
		return c.end(ctx, e, Ending{Hold: e.row.Hold, Verdict: Later, RunAt: c.now().Add(putBack), Error: ending.Error}, nil)
	}
	if err == nil {
		c.announce(ended.Wake, ended.Next)
	}
	return err
}

func callFailed(ctx context.Context, e *execution, cause error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return e.worker.failed(ctx, e, cause)
}

// record is the loop that stores ends. What ends while one transaction commits shares the next.
func (c *Client) record(ctx context.Context) {
	for {
		var batch []endRequest
		select {
		case <-ctx.Done():
			return
		case req := <-c.ends:
			batch = append(batch, req)
		}
		for more := true; more && len(batch) < recordBatch; {
			select {
			case req := <-c.ends:
				batch = append(batch, req)
			default:
				more = false
			}
		}
		c.recordBatch(context.WithoutCancel(ctx), batch)
	}
}

func (c *Client) recordBatch(ctx context.Context, batch []endRequest) {
	endings := make([]Ending, len(batch))
	for i, req := range batch {
		endings[i] = req.ending
	}
	ended, err := c.store.End(ctx, c.now(), endings)
	c.health.set("record", err)
	if err == nil {
		c.announce(ended.Wake, ended.Next)
	}
	for _, req := range batch {
		if err != nil {
			req.done <- err
		} else {
			req.done <- ended.Refused[req.ending.Hold]
		}
	}
}

// report logs what an operator may want to know: failures, not successes.
func (c *Client) report(ctx context.Context, e *execution, ending Ending, result error) {
	logger := c.logger.With("kind", e.row.Kind, "job", e.row.ID, "attempt", e.row.Attempt)
	switch {
	case ending.Verdict == Failed:
		logger.ErrorContext(ctx, "job failed for good", "err", result)
	case ending.Verdict == Later && ending.Counted:
		logger.WarnContext(ctx, "job failed and is retried", "err", result, "at", ending.RunAt)
	}
}
