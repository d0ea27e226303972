package storetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// payload is a job of 200 bytes.
type payload struct {
	Body string `json:"body"`
}

func (payload) Kind() string { return "bench.payload" }

func newPayload() payload { return payload{Body: fmt.Sprintf("%0190d", 7)} }

// measureCPU reports the processor time per operation of fn, which does b.N of them.
func measureCPU(b *testing.B, fn func()) {
	b.Helper()
	b.ResetTimer()
	before := cpu(b)
	fn()
	used := cpu(b) - before
	b.StopTimer()
	b.ReportMetric(used/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func benchEngines(b *testing.B, bench func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, storetest.Open(b, storetest.SQLite(b))) })
	b.Run("postgres", func(b *testing.B) { bench(b, storetest.Open(b, storetest.Postgres(b))) })
}

func benchClient(b *testing.B, s *store.Store, config queue.Config) *queue.Client {
	b.Helper()
	config.Store, config.Logger = s.Queue(), slog.New(slog.DiscardHandler)
	c, err := queue.New(config)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// together runs fn(0) … fn(n-1) from callers goroutines.
func together(b *testing.B, callers, n int, fn func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := fn(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkQueueInsert(b *testing.B) {
	benchEngines(b, func(b *testing.B, s *store.Store) {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
				c := benchClient(b, s, queue.Config{})
				measureCPU(b, func() {
					together(b, callers, b.N, func(i int) error {
						_, err := c.Insert(b.Context(), newPayload(), queue.InsertOpts{Tenant: int64(i % 10)})
						return err
					})
				})
			})
		}
		b.Run("many=500", func(b *testing.B) {
			c := benchClient(b, s, queue.Config{})
			measureCPU(b, func() {
				for done := 0; done < b.N; done += 500 {
					if _, err := c.InsertMany(b.Context(), benchJobs(min(500, b.N-done), "")); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	})
}

func benchJobs(n int, key string) []queue.InsertParams {
	jobs := make([]queue.InsertParams, n)
	for i := range jobs {
		opts := queue.InsertOpts{Tenant: int64(i % 10)}
		if key != "" {
			opts.Key, opts.Group, opts.GroupLimit, opts.GroupCap = fmt.Sprint(key, i), "g:"+fmt.Sprint(i%10), 500, -1
		}
		jobs[i] = queue.InsertParams{Args: newPayload(), Opts: opts}
	}
	return jobs
}

// BenchmarkQueueTakeAndEnd claims and ends jobs in batches of 100, as a busy dispatcher does.
func BenchmarkQueueTakeAndEnd(b *testing.B) {
	benchEngines(b, func(b *testing.B, s *store.Store) {
		for _, key := range []string{"", "key"} {
			b.Run("key="+key, func(b *testing.B) {
				c, q := benchClient(b, s, queue.Config{}), s.Queue()
				for done := 0; done < b.N; done += 1000 {
					if _, err := c.InsertMany(b.Context(), benchJobs(min(1000, b.N-done), fmt.Sprint(key, done, key))); err != nil {
						b.Fatal(err)
					}
				}
				measureCPU(b, func() {
					for done := 0; done < b.N; {
						claims, err := q.Claim(b.Context(), queue.ClaimRequest{
							Queue: queue.DefaultQueue, Max: 100, Token: int64(done+1) << 32, Until: time.Now().Add(15 * time.Second),
						})
						if err != nil || len(claims.Jobs) == 0 {
							b.Fatalf("claimed %d jobs, err %v", len(claims.Jobs), err)
						}
						endings := make([]queue.Ending, len(claims.Jobs))
						for i, job := range claims.Jobs {
							endings[i] = queue.Ending{Hold: job.Hold, Verdict: queue.Succeeded}
						}
						if _, err := q.End(b.Context(), time.Now(), endings); err != nil {
							b.Fatal(err)
						}
						done += len(claims.Jobs)
					}
				})
			})
		}
	})
}

// BenchmarkQueueRun is the whole way: insert from 64 callers, dispatch to 200 workers, record the end.
func BenchmarkQueueRun(b *testing.B) {
	benchEngines(b, func(b *testing.B, s *store.Store) {
		workers := queue.NewWorkers()
		var ran, want atomic.Int64
		all := make(chan struct{}, 1)
		queue.Add(workers, queue.WorkerFunc[payload](func(context.Context, *queue.Job[payload]) error {
			if ran.Add(1) == want.Load() {
				all <- struct{}{}
			}
			return nil
		}), queue.WorkerOpts{})
		c := benchClient(b, s, queue.Config{Workers: workers, Queues: map[string]int{queue.DefaultQueue: 200}})
		if err := c.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		want.Store(int64(b.N))
		measureCPU(b, func() {
			together(b, 64, b.N, func(i int) error {
				_, err := c.Insert(b.Context(), newPayload(), queue.InsertOpts{Tenant: int64(i % 10)})
				return err
			})
			<-all
		})
		if err := c.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkQueueTick fires 1,000 due schedules and ends their jobs.
func BenchmarkQueueTick(b *testing.B) {
	const schedules = 1000
	benchEngines(b, func(b *testing.B, s *store.Store) {
		q, now := s.Queue(), queueDay
		err := s.Write(b.Context(), func(ctx context.Context) error {
			for i := range schedules {
				if err := q.PutSchedule(ctx, now, queue.NewSchedule{
					Key: fmt.Sprint(i), Period: 30 * time.Second,
					Spec: queue.Spec{Queue: queue.DefaultQueue, Kind: "bench.payload", Args: `{}`, Tenant: int64(i % 10), Key: fmt.Sprint(i), KeyLimit: 1, MaxAttempts: 1},
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		measureCPU(b, func() {
			for done := 0; done < b.N; now = now.Add(time.Minute) {
				for range schedules / 500 {
					if _, err := q.Tick(b.Context(), now, 500); err != nil {
						b.Fatal(err)
					}
				}
				for more := true; more; {
					claims, err := q.Claim(b.Context(), queue.ClaimRequest{
						Queue: queue.DefaultQueue, Max: 200, Token: int64(done+1) << 32, Until: now.Add(15 * time.Second),
					})
					if err != nil {
						b.Fatal(err)
					}
					endings := make([]queue.Ending, len(claims.Jobs))
					for i, job := range claims.Jobs {
						endings[i] = queue.Ending{Hold: job.Hold, Verdict: queue.Succeeded}
					}
					if _, err := q.End(b.Context(), now, endings); err != nil {
						b.Fatal(err)
					}
					done += len(claims.Jobs)
					more = len(claims.Jobs) > 0
				}
			}
		})
	})
}
