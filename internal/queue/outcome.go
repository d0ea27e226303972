package queue

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxErrorText bounds the error text kept with a job, in bytes.
const maxErrorText = 4096

// outcome is a result of Work that says what to do.
type outcome struct {
	verdict Verdict
	counted bool
	after   time.Duration
	cause   error
}

func (o *outcome) Error() string {
	switch {
	case o.cause != nil:
		return o.cause.Error()
	case o.verdict == Failed:
		return "discarded"
	default:
		return fmt.Sprintf("again in %s", o.after)
	}
}

func (o *outcome) Unwrap() error { return o.cause }

// Snooze puts the job off by d. It is not a failure and does not count as an attempt.
func Snooze(d time.Duration) error { return &outcome{verdict: Later, after: d} }

// RetryAfter fails the attempt with cause and runs the job again after d, in place of what the worker's policy says. On the
// last attempt the job fails for good.
func RetryAfter(d time.Duration, cause error) error {
	return &outcome{verdict: Later, after: d, counted: true, cause: cause}
}

// Discard fails the job for good, whatever attempts are left.
func Discard(cause error) error { return &outcome{verdict: Failed, cause: cause} }

// verdict is what a result of Work means for a job that made so many attempts.
func verdict(result error, attempt, most int) Verdict {
	var said *outcome
	switch {
	case result == nil:
		return Succeeded
	case errors.As(result, &said):
		if said.counted && attempt >= most {
			return Failed
		}
		return said.verdict
	case errors.Is(result, ErrCancelled):
		return Cancelled
	case attempt >= most:
		return Failed
	default:
		return Later
	}
}

// decide turns what Work returned into what the store must record.
func (e *execution) decide(result error) Ending {
	ending := Ending{Hold: e.row.Hold, Verdict: verdict(result, e.row.Attempt, e.row.MaxAttempts)}
	var said *outcome
	if !errors.As(result, &said) {
		said = &outcome{counted: true, cause: result}
		if ending.Verdict == Later {
			said.after = e.backoff()
		}
	}
	ending.Again = ending.Verdict == Succeeded && e.again.Load()
	if ending.Verdict == Later {
		ending.RunAt, ending.Counted = e.client.now().Add(max(said.after, 0)), said.counted
	}
	if ending.Verdict == Failed || ending.Counted {
		ending.Error = shorten(result.Error())
	}
	return ending
}

func (e *execution) backoff() time.Duration {
	if e.worker != nil && e.worker.opts.Backoff != nil {
		return e.worker.opts.Backoff(e.row.Attempt)
	}
	return Backoff(e.row.Attempt)
}

// Backoff is the retry policy of workers that have none: 1 s after the first attempt, doubling up to an hour.
func Backoff(attempt int) time.Duration {
	const most = time.Hour
	if attempt > 12 { // 2^12 s is more than an hour
		return most
	}
	return min(time.Second<<(max(attempt, 1)-1), most)
}

// shorten cuts text to maxErrorText bytes without splitting a character, and makes it storable as text on both engines.
func shorten(text string) string {
	text = clean(text)
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "")
	}
	return text
}
