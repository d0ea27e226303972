package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var errThirdParty = errors.New("503")

func TestWhatAWorkerReturnsDecidesTheEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	hold := Hold{ID: 7, Lease: 9}
	for name, c := range map[string]struct {
		result  error
		attempt int
		want    Ending
	}{
		"nil succeeds":                {nil, 1, Ending{Verdict: Succeeded}},
		"an error is retried":         {errThirdParty, 1, Ending{Verdict: Later, RunAt: now.Add(time.Second), Counted: true, Error: "503"}},
		"later and later":             {errThirdParty, 2, Ending{Verdict: Later, RunAt: now.Add(2 * time.Second), Counted: true, Error: "503"}},
		"the last attempt fails":      {errThirdParty, 3, Ending{Verdict: Failed, Error: "503"}},
		"more than the last, too":     {errThirdParty, 4, Ending{Verdict: Failed, Error: "503"}},
		"retry says when":             {RetryAfter(time.Minute, errThirdParty), 1, Ending{Verdict: Later, RunAt: now.Add(time.Minute), Counted: true, Error: "503"}},
		"retry without attempts left": {RetryAfter(time.Minute, errThirdParty), 3, Ending{Verdict: Failed, Error: "503"}},
		"snooze does not count":       {Snooze(time.Hour), 3, Ending{Verdict: Later, RunAt: now.Add(time.Hour)}},
		"snooze into the past is now": {Snooze(-time.Hour), 3, Ending{Verdict: Later, RunAt: now}},
		"discard fails at once":       {Discard(errThirdParty), 1, Ending{Verdict: Failed, Error: "503"}},
		"discard without a cause":     {Discard(nil), 1, Ending{Verdict: Failed, Error: "discarded"}},
		"wrapped, it says the same":   {fmt.Errorf("deliver: %w", Discard(errThirdParty)), 1, Ending{Verdict: Failed, Error: "deliver: 503"}},
		"cancelled by itself":         {fmt.Errorf("stop: %w", ErrCancelled), 1, Ending{Verdict: Cancelled}},
	} {
		e := &execution{
			client: &Client{now: func() time.Time { return now }},
			row:    Claimed{Hold: hold, Spec: Spec{MaxAttempts: 3}, Attempt: c.attempt},
		}
		c.want.Hold = hold
		if diff := cmp.Diff(c.want, e.decide(c.result)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		job := Job[payloadless]{Attempt: c.attempt, MaxAttempts: 3}
		if fails := job.FailsWith(c.result); fails != (c.want.Verdict == Failed) {
			t.Errorf("%s: fails %v", name, fails)
		}
	}
}

func TestTheCauseOfAResultCanBeAskedFor(t *testing.T) {
	t.Parallel()
	for _, err := range []error{RetryAfter(time.Second, errThirdParty), Discard(errThirdParty)} {
		if !errors.Is(err, errThirdParty) {
			t.Errorf("%v hides its cause", err)
		}
	}
}

func TestBackoffGrowsToAnHourAndNoFurther(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for attempt := range 16 {
		got = append(got, Backoff(attempt))
	}
	want := make([]time.Duration, 0, len(got))
	for _, seconds := range []int{1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600} {
		want = append(want, time.Duration(seconds)*time.Second)
	}
	if !slices.Equal(got, want) {
		t.Errorf("back-off %v", got)
	}
	if Backoff(1_000_000) != time.Hour {
		t.Error("it overflows")
	}
}

func FuzzErrorTextIsStorable(f *testing.F) {
	f.Add("plain")
	f.Add("nul \x00 and bad \xff bytes")
	f.Add(strings.Repeat("é", maxErrorText))
	f.Add("x" + strings.Repeat("é", maxErrorText))
	f.Add(strings.Repeat("\xffx", maxErrorText))
	f.Fuzz(func(t *testing.T, text string) {
		got := shorten(text)
		if !utf8.ValidString(got) || strings.ContainsRune(got, 0) {
			t.Errorf("%q is not text", got)
		}
		if len(got) > maxErrorText {
			t.Errorf("%d bytes are left", len(got))
		}
		if len(text) <= maxErrorText && utf8.ValidString(text) && !strings.ContainsRune(text, 0) && got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// payloadless is a job about nothing.
type payloadless struct{}

func (payloadless) Kind() string { return "test.payloadless" }

type nameless struct{}

func (nameless) Kind() string { return "" }

type unprintable struct{ C chan int }

func (unprintable) Kind() string { return "test.unprintable" }

func TestOptionsAreCheckedAndFilledIn(t *testing.T) {
	t.Parallel()
	got, err := newSpec(payloadless{}, InsertOpts{Key: "k", Group: "g", KeyLimit: -1, GroupLimit: -1})
	want := Spec{Queue: DefaultQueue, Kind: "test.payloadless", Args: "{}", Key: "k", KeyLimit: 1, Group: "g", MaxAttempts: DefaultMaxAttempts}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s, err %v", diff, err)
	}
	long := strings.Repeat("x", maxName+1)
	for name, c := range map[string]struct {
		args Args
		opts InsertOpts
	}{
		"no kind":            {nameless{}, InsertOpts{}},
		"not JSON":           {unprintable{}, InsertOpts{}},
		"queue with a blank": {payloadless{}, InsertOpts{Queue: "a b"}},
		"queue with a comma": {payloadless{}, InsertOpts{Queue: "a,b"}},
		"every queue":        {payloadless{}, InsertOpts{Queue: anythingDue}},
		"long key":           {payloadless{}, InsertOpts{Key: long}},
		"long group":         {payloadless{}, InsertOpts{Group: long}},
		"key with NUL":       {payloadless{}, InsertOpts{Key: "a\x00b"}},
		"key that is bytes":  {payloadless{}, InsertOpts{Key: "\xff"}},
	} {
		if _, err := newSpec(c.args, c.opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestACountOfAGroupIsTrustedForAWhile(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	var r room
	if r.take("g", now) {
		t.Error("a group that was never counted has room")
	}
	r.found("g", 40, now) // a quarter, less the one that is being inserted
	for i := range 9 {
		if !r.take("g", now) {
			t.Fatalf("no room for job %d of 9", i+1)
		}
	}
	if r.take("g", now) {
		t.Error("room for a tenth job without a count")
	}
	r.found("g", 40, now)
	if r.take("g", now.Add(roomFor+time.Microsecond)) {
		t.Error("an old count is trusted")
	}
	r.found("full", 1, now)
	if r.take("full", now) {
		t.Error("a group with one place has room for two")
	}
}

// FuzzHint feeds the process what other nodes may send: whatever it is, the process only looks around.
func FuzzHint(f *testing.F) {
	f.Add("0123456789abcdef default,other")
	f.Add("self default")
	f.Add("\x00resync")
	f.Add("12345")
	f.Add("*")
	f.Add("")
	f.Fuzz(func(t *testing.T, payload string) {
		l := &lane{name: "default", workers: 1}
		c := &Client{node: "self"}
		c.hints.init([]*lane{l})
		c.running.init()
		e := &execution{row: Claimed{Hold: Hold{ID: 12345, Lease: 1}}}
		c.running.add(e)
		c.hear(payload)
		c.hearCancel(payload)
		if strings.HasPrefix(payload, "self ") && l.look {
			t.Error("the process hears itself")
		}
		if !strings.Contains(payload, " ") && !l.look {
			t.Error("hints were lost and the process does not look")
		}
		if e.flagged.Load() || e.lost.Load() {
			t.Error("a hint alone ended a job")
		}
	})
}
