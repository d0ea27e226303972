package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
	"github.com/patchbay-dev/patchbay/internal/runner/jail"
)

// Options configure a Pool. The zero value works.
type Options struct {
	// Command starts a runner process. Default: this program's own file with the argument "runner".
	Command []string
	// Workers is how many processes there may be. Default: the number of CPUs, at least 4. A process costs about 20 MB.
	Workers int
	// VMs is how many runs one process executes at a time. Default 64; each costs 1–4 MB while it waits.
	VMs int
	// Warm is how many unused virtual machines of a kind each process keeps ready. Default 2; -1: none.
	Warm int
	// Recycle is after how many runs a process is replaced. Default 1,000; -1: never.
	Recycle int
	// WorkerMemory is how much memory a process may occupy, in bytes: above it, it is killed, and with it all its runs.
	// Default 1 GiB; -1: unlimited.
	WorkerMemory int64
	// IdleTimeout is after how long without a run a process is ended; the last one stays. Default 5 min; -1: never.
	IdleTimeout time.Duration
	// Limits replace the default limits of a kind, field by field.
	Limits map[Kind]Limits
	// Unconfined starts processes without namespaces; for hosts where creating them is harmful.
	Unconfined bool
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("finding this program's file: %w", err)
		}
		o.Command = []string{self, "runner"}
	}
	setDefault(&o.Workers, max(runtime.NumCPU(), 4))
	setDefault(&o.VMs, 64)
	setDefault(&o.Warm, 2)
	setDefault(&o.Recycle, 1000)
	setDefault(&o.WorkerMemory, 1<<30)
	setDefault(&o.IdleTimeout, 5*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Pool runs functions in child processes. Start it before Run; Stop ends it for good.
type Pool struct {
	opts    Options
	spawner spawner
	confine func(cmd *exec.Cmd, namespaces bool)

	ctx    context.Context // ends when the pool gives up waiting in Stop
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // goroutines and processes

	mu         sync.Mutex
	started    bool
	stopping   bool
	isolation  jail.Isolation
	namespaces bool
	procs      []*process
	starting   map[string]int // processes on their way, by tenant
	waiting    map[string][]*waiter
	running    map[string]int // runs in processes, by tenant
	runs       sync.WaitGroup
}

// waiter is a Run that waits for a place in a process.
type waiter struct {
	place chan *process // has one element of room; closed without one when err is set
	err   error
}

// NewPool makes a pool; it does nothing before Start.
func NewPool(o Options) *Pool {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Pool{
		opts:       o,
		confine:    jail.Confine,
		ctx:        ctx,
		cancel:     cancel,
		namespaces: jail.Supported && !o.Unconfined,
		starting:   map[string]int{},
		waiting:    map[string][]*waiter{},
		running:    map[string]int{},
	}
}

// Start launches the first process, which shows that the command works and how well this host can confine it. What is missing
// is logged once, here. ctx bounds only Start itself.
func (p *Pool) Start(ctx context.Context) error {
	opts, err := p.opts.withDefaults()
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.started || p.stopping {
		p.mu.Unlock()
		return errors.New("starting the runner pool: it was started before")
	}
	p.opts, p.started = opts, true
	p.mu.Unlock()
	p.spawner.start()

	first, err := p.launch(ctx)
	if err != nil {
		return errors.Join(err, p.Stop(ctx))
	}
	p.mu.Lock()
	p.isolation.Namespaces, p.isolation.Filter = p.namespaces, first.ready.Filtered
	if first.ready.Problem != "" {
		p.isolation.Problems = append(p.isolation.Problems, first.ready.Problem)
	}
	isolation := p.isolation
	p.adopt(first, "", false)
	p.mu.Unlock()
	if isolation.Full() {
		opts.Logger.InfoContext(ctx, "functions run confined", "by", isolation.String())
	} else {
		opts.Logger.WarnContext(ctx, "functions run with less confinement than this program wants", "by", isolation.String())
	}
	p.tasks.Go(p.watch)
	return nil
}

// Isolation tells how the processes are confined; complete after Start.
func (p *Pool) Isolation() jail.Isolation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isolation
}

// Stop refuses new runs, waits for those in progress until ctx ends, then cancels them with ErrStopped, and ends all
// processes. It may be called twice.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopping = true
	for tenant := range p.waiting {
		p.failWaiters(tenant, ErrStopped)
	}
	p.mu.Unlock()

	idle := make(chan struct{})
	go func() {
		p.runs.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("stopping the runner pool: %w", context.Cause(ctx))
	}
	p.cancel(ErrStopped)
	<-idle

	p.mu.Lock()
	procs := slices.Clone(p.procs) // each leaves the list when it ends
	p.mu.Unlock()
	for _, proc := range procs {
		proc.kill(ErrStopped) // no run is left in it
	}
	p.tasks.Wait()
	p.spawner.stop()
	return err
}

// Run executes a function and returns when it has ended. How the function itself fails is in Result.Error; the error is
// ErrWorkerLost, ErrStopped, the cause of ctx's end, or a request that can not be encoded.
//
// When its process dies, a run that made no host call yet is tried once more.
func (p *Pool) Run(ctx context.Context, req Request, host Host) (Result, error) {
	p.mu.Lock()
	if !p.started || p.stopping {
		p.mu.Unlock()
		return Result{}, ErrStopped
	}
	p.runs.Add(1)
	p.mu.Unlock()
	defer p.runs.Done()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(ErrStopped) })()

	limits := req.Limits.over(p.opts.Limits[req.Kind]).over(defaults(req.Kind))
	for retry := true; ; retry = false {
		proc, err := p.place(ctx, req.Tenant)
		if err != nil {
			return Result{}, err
		}
		result, err := proc.execute(ctx, req, limits, host)
		alone := p.release(proc, req.Tenant)
		var gone *lost
		switch {
		case !errors.As(err, &gone):
			return result, err
		case errors.Is(gone.cause, errMemoryCap) && alone:
			result.Error = failure(TypeOutOfMemory, "Error", "The function exhausted the memory of its process", ErrOutOfMemory)
			return result, nil
		case !gone.clean || !retry:
			return result, fmt.Errorf("run %s: %w", req.Bundle.Name, err)
		}
	}
}

// launch starts one process, and learns here whether this host allows namespaces.
func (p *Pool) launch(ctx context.Context) (*process, error) {
	l := launch{
		command: p.opts.Command,
		hello:   frame.HelloMeta{Warm: max(p.opts.Warm, 0)},
		log:     p.opts.Logger,
		confine: p.confine,
		start:   p.spawner.run,
	}
	if p.opts.WorkerMemory > 0 {
		// Go and the engine count reserved memory too, and what is refused to Go's own heap ends the process: the
		// watch, which looks at memory in use, shall come first.
		l.hello.Data = p.opts.WorkerMemory + 512*mebibyte
	}
	p.mu.Lock()
	l.namespaces = p.namespaces
	p.mu.Unlock()
	proc, err := l.process(ctx)
	if err == nil || !l.namespaces || ctx.Err() != nil {
		return proc, err
	}
	l.namespaces = false
	proc, bare := l.process(ctx)
	if bare != nil {
		return nil, bare
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.namespaces {
		p.namespaces = false
		p.isolation.Namespaces = false
		p.isolation.Problems = append(p.isolation.Problems, "namespaces: "+err.Error())
	}
	return proc, nil
}

// spawner starts processes on one thread that lives as long as the pool: Linux kills a child with a parent-death signal when
// the thread that made it ends, not the process.
type spawner struct {
	jobs chan func()
	done chan struct{}
	once sync.Once
}

func (s *spawner) start() {
	s.jobs, s.done = make(chan func()), make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(s.done)
		for job := range s.jobs {
			job()
		}
	}()
}

func (s *spawner) run(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// stop waits for the thread; a second call does nothing.
func (s *spawner) stop() {
	s.once.Do(func() {
		if s.jobs != nil {
			close(s.jobs)
			<-s.done
		}
	})
}
