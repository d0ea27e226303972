package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// crashEnv turns the test binary into a process that works on a queue until it is killed: a data folder, and on PostgreSQL
// also a URL.
const crashEnv = "PATCHBAY_CRASH_QUEUE"

// crashLease is short so that the test is, and long enough for a busy machine to renew it in time.
const crashLease = 3 * time.Second

func TestMain(m *testing.M) {
	if target := os.Getenv(crashEnv); target != "" {
		if err := workUntilKilled(context.Background(), strings.Fields(target)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// chore is a job that takes a while, or for ever.
type chore struct {
	N       int  `json:"n"`
	Forever bool `json:"forever"`
}

func (chore) Kind() string { return "crash.chore" }

// say prints "start N attempt lost" when a chore starts and "end N" when it has ended.
func say(line string) { fmt.Println(line) }

func openQueue(ctx context.Context, opts store.Options, work queue.WorkerFunc[chore]) (*queue.Client, *store.Store, error) {
	opts.Logger = slog.New(slog.DiscardHandler)
	s, err := store.Connect(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	workers := queue.NewWorkers()
	queue.Add(workers, work, queue.WorkerOpts{})
	c, err := queue.New(queue.Config{
		Store: s.Queue(), Workers: workers, Queues: map[string]int{queue.DefaultQueue: 4}, Logger: opts.Logger,
		Lease: crashLease, Beat: crashLease / 3, Poll: 100 * time.Millisecond,
	})
	if err == nil {
		err = c.Start(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return c, s, nil
}

func workUntilKilled(ctx context.Context, target []string) error {
	opts := store.Options{DataDir: target[0]}
	if len(target) > 1 {
		opts.PostgresURL = target[1]
	}
	_, _, err := openQueue(ctx, opts, func(ctx context.Context, job *queue.Job[chore]) error {
		say(fmt.Sprintf("start %d %d %d", job.Args.N, job.Attempt, job.Lost))
		if job.Args.Forever {
			<-ctx.Done()
			return ctx.Err()
		}
		<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond) // the work
		if err := job.CompleteTx(ctx); err != nil {
			return err
		}
		say(fmt.Sprintf("end %d", job.Args.N))
		return nil
	})
	if err != nil {
		return err
	}
	select {}
}

// crasher is a process that works on the queue.
type crasher struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
}

func startCrasher(t *testing.T, opts store.Options) *crasher {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+strings.TrimSpace(opts.DataDir+" "+opts.PostgresURL))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &crasher{cmd, bufio.NewReader(stdout)}
}

// next is the next whole line that the process printed, or "" when it is dead.
func (c *crasher) next(t *testing.T) string {
	t.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
		return ""
	}
	return strings.TrimSpace(line)
}

// kill ends the process and returns what it had still printed.
func (c *crasher) kill() (lines []string) {
	_ = c.cmd.Process.Kill() // it may be dead already
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil { // a line without its end was cut off by the kill
			break
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	_ = c.cmd.Wait() // it was killed
	return lines
}

func insertChores(t *testing.T, s *store.Store, chores ...chore) {
	t.Helper()
	c, err := queue.New(queue.Config{Store: s.Queue()})
	if err != nil {
		t.Fatal(err)
	}
	for _, chore := range chores {
		if _, err := c.Insert(t.Context(), chore, queue.InsertOpts{MaxAttempts: 1, Timeout: -1}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAJobOfAKilledProcessRunsAgainWhenItsLeaseHasRunOut(t *testing.T) {
	t.Parallel()
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		insertChores(t, storetest.Open(t, opts), chore{N: 1, Forever: true})
		victim := startCrasher(t, opts)
		if line := victim.next(t); line != "start 1 1 0" {
			t.Fatalf("the process says %q", line)
		}
		survivor := startCrasher(t, opts)
		defer survivor.kill()
		victim.kill()
		killed := time.Now()
		if line := survivor.next(t); line != "start 1 1 1" {
			t.Fatalf("the other process says %q", line)
		}
		// The last renewal was at most a third of a lease before the kill. The upper bound leaves room for a busy machine.
		if took := time.Since(killed); took > crashLease+10*time.Second || took < crashLease/3 {
			t.Errorf("the job ran again %s after the kill, its lease was %s", took, crashLease)
		}
	})
}

func TestNoJobIsLostWhenProcessesAreKilled(t *testing.T) {
	t.Parallel()
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		const jobs, kills = 300, 8
		s := storetest.Open(t, opts)
		var chores []chore
		for n := range jobs {
			chores = append(chores, chore{N: n})
		}
		insertChores(t, s, chores...)
		starts, ends := map[string]int{}, map[string]int{}
		for range kills {
			worker := startCrasher(t, opts)
			for left := rand.IntN(40); ; left-- {
				line := worker.next(t)
				count(line, starts, ends)
				if left <= 0 || line == "" {
					break
				}
			}
			for _, line := range worker.kill() {
				count(line, starts, ends)
			}
		}
		last := startCrasher(t, opts)
		defer last.kill()
		deadline := time.AfterFunc(2*time.Minute, func() { _ = last.cmd.Process.Kill() })
		defer deadline.Stop()
		for {
			due, err := s.Queue().Due(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if due.Next.IsZero() && !due.Ready {
				break
			}
			line := last.next(t)
			if line == "" {
				t.Fatalf("the last process died with jobs left: %+v", due)
			}
			count(line, starts, ends)
		}
		if len(starts) < jobs {
			t.Errorf("%d of %d jobs ever started", len(starts), jobs)
		}
		for n, times := range ends {
			if times > 1 {
				t.Errorf("job %s was ended %d times", n, times)
			}
		}
	})
}

func count(line string, starts, ends map[string]int) {
	switch fields := strings.Fields(line); {
	case len(fields) == 4 && fields[0] == "start":
		starts[fields[1]]++
	case len(fields) == 2 && fields[0] == "end":
		ends[fields[1]]++
	}
}
