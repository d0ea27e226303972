package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
)

// startTimeout is how long a new process may take to greet back. It takes 30 ms on an idle machine.
const startTimeout = 20 * time.Second

// deafAfter is how long a process may leave its input unread, counted for one frame, before it is killed. Its reader does
// nothing else, so only a process that is stopped or starved gets there.
const deafAfter = 30 * time.Second

// maxLoaded is how much code one process is given, in bytes, before it is replaced: bytecode is never freed there.
const maxLoaded = 64 * mebibyte

// process is one runner process as the server sees it.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File
	out    *frame.Writer
	log    *slog.Logger
	stderr *tail
	ready  frame.ReadyMeta

	// Guarded by the pool's mutex.
	tenant   string // "" while unbound
	bound    bool
	busy     int // runs assigned and not yet released
	assigned int // runs ever assigned
	retiring bool
	idle     time.Time // when busy fell to 0

	// loading orders bundles before the runs that need them. It is held while writing, mu never is.
	loading sync.Mutex
	loaded  map[string]bool

	mu       sync.Mutex
	runs     map[uint32]*active
	lastRun  uint32
	size     int   // of the bundles loaded, in bytes
	verdict  error // why the server killed it; nil if it did not
	dead     chan struct{}
	deathErr error // set before dead is closed
}

// launch describes how to start a process.
type launch struct {
	command    []string
	hello      frame.HelloMeta
	namespaces bool
	log        *slog.Logger
	confine    func(cmd *exec.Cmd, namespaces bool) // jail.Confine
	start      func(*exec.Cmd) error                // runs cmd.Start where its thread outlives the process, see spawner
}

func (l launch) process(ctx context.Context) (*process, error) {
	cmd := exec.Command(l.command[0], l.command[1:]...) //nolint:noctx // it outlives ctx; kill ends it
	cmd.Env = []string{"TZ=UTC"}                        // functions see UTC wherever they run; nothing of the server's environment
	cmd.Dir = "/"
	l.confine(cmd, l.namespaces)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a runner: %w", err)
	}
	childIn, stdin, err := os.Pipe() // our own, for its write deadline
	if err != nil {
		return nil, fmt.Errorf("starting a runner: %w", err)
	}
	cmd.Stdin = childIn
	p := &process{
		cmd:    cmd,
		stdin:  stdin,
		out:    frame.NewWriter(deadlineWriter{stdin}),
		log:    l.log,
		stderr: &tail{},
		runs:   map[uint32]*active{},
		loaded: map[string]bool{},
		dead:   make(chan struct{}),
	}
	cmd.Stderr = p.stderr
	cmd.WaitDelay = time.Second
	err = l.start(cmd)
	_ = childIn.Close()
	if err != nil {
		_ = stdin.Close()
		return nil, fmt.Errorf("starting a runner: %w", err)
	}
	greeted := make(chan frame.ReadyMeta, 1)
	go p.read(stdout, greeted)

	text, err := json.Marshal(l.hello)
	if err != nil {
		return nil, err
	}
	_ = p.send(frame.Frame{Op: frame.Hello, Meta: text}) // a failure ends the process, see below
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case p.ready = <-greeted:
		return p, nil
	case <-p.dead:
		return nil, fmt.Errorf("starting a runner: %w: %s", p.deathErr, p.stderr)
	case <-timeout.C:
		err = errors.New("it did not greet back")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.kill(err)
	<-p.dead
	return nil, fmt.Errorf("starting a runner: %w", err)
}

// read takes the process's frames until its output ends, and then buries it. It never waits for anything else, so that the
// process can always write.
func (p *process) read(stdout io.Reader, greeted chan<- frame.ReadyMeta) {
	r := frame.NewReader(stdout, 0)
	for {
		f, err := r.Next()
		if err == nil {
			err = p.handle(f, greeted)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.kill(err)
			}
			break
		}
	}
	// Its output ends before its life if it closes the stream on purpose: what can not answer is dead.
	_ = p.cmd.Process.Kill()
	err := p.cmd.Wait()
	_ = p.stdin.Close()
	p.mu.Lock()
	switch {
	case p.verdict != nil:
		p.deathErr = p.verdict
	case err != nil:
		p.deathErr = err
	default:
		p.deathErr = io.EOF
	}
	p.mu.Unlock()
	close(p.dead)
}

func (p *process) handle(f frame.Frame, greeted chan<- frame.ReadyMeta) error {
	if f.Op == frame.Ready {
		var ready frame.ReadyMeta
		if err := json.Unmarshal(f.Meta, &ready); err != nil {
			return fmt.Errorf("%w: greeting: %w", frame.ErrFrame, err)
		}
		select {
		case greeted <- ready:
			return nil
		default:
			return fmt.Errorf("%w: second greeting", frame.ErrFrame)
		}
	}
	p.mu.Lock()
	a := p.runs[f.Run]
	ended := a == nil && f.Run != 0 && f.Run <= p.lastRun
	if f.Op == frame.Done {
		delete(p.runs, f.Run)
	}
	p.mu.Unlock()
	if ended {
		return nil // its last words: other threads of the process may not have known yet
	}
	if a == nil {
		return fmt.Errorf("%w: op %d for run %d, which does not exist", frame.ErrFrame, f.Op, f.Run)
	}
	switch f.Op {
	case frame.Call:
		return a.accept(f)
	case frame.Overrun:
		select {
		case a.overrun <- struct{}{}:
		default:
		}
	case frame.Done:
		a.done <- f
	default:
		return fmt.Errorf("%w: op %d", frame.ErrFrame, f.Op)
	}
	return nil
}

// begin sends a run, and its bundle if the process does not have it.
func (p *process) begin(a *active, bundle Bundle, meta, request []byte) error {
	p.mu.Lock()
	p.lastRun++
	a.id = p.lastRun
	p.runs[a.id] = a
	p.mu.Unlock()

	err := p.load(bundle)
	if err == nil {
		err = p.send(frame.Frame{Op: frame.Run, Run: a.id, Meta: meta, Body: request})
	}
	if err != nil {
		p.mu.Lock()
		delete(p.runs, a.id)
		p.mu.Unlock()
	}
	return err
}

func (p *process) load(bundle Bundle) error {
	p.loading.Lock()
	defer p.loading.Unlock()
	if p.loaded[bundle.key()] {
		return nil
	}
	if err := p.send(frame.Frame{Op: frame.Load, Meta: []byte(bundle.key()), Body: []byte(bundle.Code)}); err != nil {
		return err
	}
	p.loaded[bundle.key()] = true
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size += len(bundle.Code)
	return nil
}

// send writes a frame. A process that can not be written to is killed; a frame over the limits (frame.ErrFrame) harms nobody.
func (p *process) send(f frame.Frame) error {
	err := p.out.Write(f)
	if err != nil && !errors.Is(err, frame.ErrFrame) {
		p.kill(fmt.Errorf("writing to it: %w", err))
	}
	return err
}

type deadlineWriter struct{ f *os.File }

func (w deadlineWriter) Write(b []byte) (int, error) {
	if err := w.f.SetWriteDeadline(time.Now().Add(deafAfter)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return 0, err
	}
	return w.f.Write(b)
}

// full reports whether the process has been given as much code as it should.
func (p *process) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size >= maxLoaded
}

// usable reports whether the process lives, as far as is known.
func (p *process) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict == nil && p.deathErr == nil
}

// kill ends the process now; why is what its runs are told.
func (p *process) kill(why error) {
	p.mu.Lock()
	if p.verdict == nil {
		p.verdict = why
	}
	p.mu.Unlock()
	_ = p.cmd.Process.Kill() // it may have ended already
}

// dismiss lets the process end by itself.
func (p *process) dismiss() { _ = p.stdin.Close() }

// tail keeps the last lines a process wrote to its standard error: what a crash says about itself. Safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// The first lines of a Go crash name the reason, the rest are stacks: keep the beginning.
	if room := tailSize - len(t.buf); room > 0 {
		t.buf = append(t.buf, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
