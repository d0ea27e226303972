package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
)

var errBroken = errors.New("broken")

// part is a service that writes down what happens to it.
type part struct {
	name     string
	diary    *[]string
	startErr error
	stopErr  error
	health   error
}

func (p *part) Name() string { return p.name }

func (p *part) Start(context.Context) error {
	*p.diary = append(*p.diary, "start "+p.name)
	return p.startErr
}

func (p *part) Stop(context.Context) error {
	*p.diary = append(*p.diary, "stop "+p.name)
	return p.stopErr
}

func (p *part) Health() error { return p.health }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestAGroupStartsInOrderAndStopsInReverseOnce(t *testing.T) {
	t.Parallel()
	var diary []string
	g := lifecycle.NewGroup("all", quiet())
	g.Add(&part{name: "store", diary: &diary}, &part{name: "queue", diary: &diary})
	g.Add(&part{name: "api", diary: &diary})
	for range 2 {
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"start store", "start queue", "start api", "stop api", "stop queue", "stop store"}
	if diff := cmp.Diff(want, diary); diff != "" {
		t.Error(diff)
	}
	if err := g.Start(t.Context()); !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("start after stop: %v", err)
	}
}

func TestAFailedStartStopsWhatHadStartedAndNothingElse(t *testing.T) {
	t.Parallel()
	var diary []string
	g := lifecycle.NewGroup("all", quiet())
	g.Add(&part{name: "store", diary: &diary}, &part{name: "queue", diary: &diary, startErr: errBroken}, &part{name: "api", diary: &diary})
	if err := g.Start(t.Context()); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "start queue") {
		t.Errorf("start: %v", err)
	}
	want := []string{"start store", "start queue", "stop store"}
	if diff := cmp.Diff(want, diary); diff != "" {
		t.Error(diff)
	}
	states := map[string]lifecycle.State{}
	for _, s := range g.Report() {
		states[s.Name] = s.State
	}
	if diff := cmp.Diff(map[string]lifecycle.State{"store": "stopped", "queue": "failed", "api": "waiting"}, states); diff != "" {
		t.Error(diff)
	}
}

func TestOneServiceThatDoesNotStopDoesNotKeepTheOthersRunning(t *testing.T) {
	t.Parallel()
	var diary []string
	g := lifecycle.NewGroup("all", quiet())
	g.Add(&part{name: "store", diary: &diary}, &part{name: "queue", diary: &diary, stopErr: errBroken})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("stop: %v", err)
	}
	if !slices.Contains(diary, "stop store") {
		t.Errorf("store was not stopped: %v", diary)
	}
}

func TestTheReportNamesWhatIsUnwell(t *testing.T) {
	t.Parallel()
	var diary []string
	sick := &part{name: "queue", diary: &diary}
	g := lifecycle.NewGroup("all", quiet())
	g.Add(&part{name: "store", diary: &diary}, sick)
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := g.Report(); !r.Healthy() || g.Health() != nil {
		t.Errorf("healthy group: %v, %v", r, g.Health())
	}
	sick.health = errBroken
	if r := g.Report(); r.Healthy() || r[0].Err != nil || !errors.Is(r[1].Err, errBroken) {
		t.Errorf("report: %v", r)
	}
	if err := g.Health(); !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), "queue: ") {
		t.Errorf("health: %v", err)
	}
}

func TestALoopIsStoppedWithTheCauseAndStopWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause error // read once the loop has ended, or waits
		l := lifecycle.NewLoop("poll", quiet(), func(ctx context.Context) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			time.Sleep(time.Minute) // it has something to finish
			return ctx.Err()
		})
		start, cancel := context.WithCancel(t.Context())
		if err := errors.Join(l.Start(start), l.Start(start)); err != nil {
			t.Fatal(err)
		}
		cancel() // the context of the start does not end the work
		synctest.Wait()
		if cause != nil {
			t.Fatalf("the loop ended with its start: %v", cause)
		}
		before := time.Now()
		if err := errors.Join(l.Stop(t.Context()), l.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(cause, lifecycle.ErrStopping) {
			t.Errorf("cause: %v", cause)
		}
		if waited := time.Since(before); waited != time.Minute {
			t.Errorf("Stop waited %s", waited)
		}
		if err := l.Health(); err != nil {
			t.Errorf("a stopped loop complains: %v", err)
		}
	})
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lifecycle.NewLoop("deaf", quiet(), func(context.Context) error {
			time.Sleep(time.Hour)
			return nil
		})
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v", err)
		}
		if err := l.Stop(t.Context()); err != nil {
			t.Errorf("the second stop has the time to wait: %v", err)
		}
	})
}

func TestAFailingLoopIsUnhealthyAndComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs []time.Duration
		start := time.Now()
		l := lifecycle.NewLoop("listen", quiet(), func(ctx context.Context) error {
			runs = append(runs, time.Since(start))
			switch len(runs) {
			case 1, 2:
				return errBroken
			case 3:
				panic("worse")
			}
			<-ctx.Done()
			return nil
		})
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := l.Health(); !errors.Is(err, errBroken) {
			t.Errorf("after the first failure: %v", err)
		}
		time.Sleep(7*time.Second + time.Millisecond) // 1 + 2 + 4
		synctest.Wait()
		if err := l.Health(); err == nil || !strings.Contains(err.Error(), "worse") {
			t.Errorf("it has only just come back: %v", err)
		}
		time.Sleep(4 * time.Second)
		if err := l.Health(); err != nil {
			t.Errorf("it runs: %v", err)
		}
		if err := l.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}
		if diff := cmp.Diff(want, runs); diff != "" {
			t.Errorf("runs: %s", diff)
		}
	})
}

func TestALoopThatIsDoneIsNotRunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		l := lifecycle.NewLoop("once", quiet(), func(context.Context) error { runs++; return nil })
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if runs != 1 || l.Health() != nil {
			t.Errorf("%d runs, health %v", runs, l.Health())
		}
		if err := l.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAServiceStoppedBeforeItsStartDoesNotStart(t *testing.T) {
	t.Parallel()
	l := lifecycle.NewLoop("late", quiet(), func(context.Context) error { t.Error("it ran"); return nil })
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Start(t.Context()); !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("start: %v", err)
	}
}
