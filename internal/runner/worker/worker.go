package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a confined process can not read the system's time zones

	"modernc.org/quickjs"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
	"github.com/patchbay-dev/patchbay/internal/runner/jail"
	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

var (
	errProtocol  = errors.New("unexpected frame")
	errCancelled = errors.New("the run was cancelled")
)

// Serve works for the server at the other end of in and out until in ends. sdk is the script every machine loads. The
// process is confined for good before the first bundle arrives.
//
// It returns nil when in ended between two frames; runs that still execute then are stopped and not waited for.
func Serve(in io.Reader, out io.Writer, sdk string) error {
	r := frame.NewReader(in, 0)
	hello, err := r.Next()
	if err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	var config frame.HelloMeta
	if hello.Op != frame.Hello {
		return fmt.Errorf("%w: op %d instead of a greeting", errProtocol, hello.Op)
	}
	if err := json.Unmarshal(hello.Meta, &config); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	engine, err := vm.NewEngine(sdk)
	if err != nil {
		return err
	}
	var ready frame.ReadyMeta
	var jailed error
	if ready.Filtered, jailed = jail.Enter(jail.Limits{Data: config.Data}); jailed != nil {
		ready.Problem = jailed.Error()
	}
	s := &server{
		out:     frame.NewWriter(out),
		engine:  engine,
		stock:   newStock(engine, config.Warm),
		runs:    map[uint32]*run{},
		bundles: map[string]*bundle{},
	}
	if err := s.send(frame.Frame{Op: frame.Ready}, ready); err != nil {
		return err
	}
	return s.loop(r)
}

type server struct {
	out    *frame.Writer
	engine *vm.Engine
	stock  *stock

	mu      sync.Mutex
	runs    map[uint32]*run
	bundles map[string]*bundle // by key; the server counts their size and replaces the process when it has enough
}

// bundle is a function's code, compiled by the first run that needs it.
type bundle struct {
	code string
	zod  bool // it seems to require zod; a wrong guess costs time only

	once     sync.Once
	bytecode []byte
	err      error
}

// compile returns the bytecode. The compiler can not be interrupted: if it takes longer than limit, slow is called, once.
func (b *bundle) compile(e *vm.Engine, name string, limit time.Duration, slow func()) ([]byte, error) {
	b.once.Do(func() {
		if limit > 0 {
			defer time.AfterFunc(limit, slow).Stop()
		}
		b.bytecode, b.err = e.CompileBundle(name, b.code)
		b.code = ""
	})
	return b.bytecode, b.err
}

func (s *server) loop(r *frame.Reader) error {
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a frame: %w", err)
		}
		if err := s.handle(f); err != nil {
			return err
		}
	}
}

func (s *server) handle(f frame.Frame) error {
	switch f.Op {
	case frame.Load:
		code := string(f.Body)
		s.mu.Lock()
		s.bundles[string(f.Meta)] = &bundle{code: code, zod: strings.Contains(code, `"zod"`) || strings.Contains(code, `'zod'`)}
		s.mu.Unlock()
	case frame.Run:
		return s.start(f)
	case frame.Reply:
		if r := s.find(f.Run); r != nil {
			r.reply(f)
		}
	case frame.Cancel:
		if r := s.find(f.Run); r != nil {
			r.stop(errCancelled)
		}
	default:
		return fmt.Errorf("%w: op %d", errProtocol, f.Op)
	}
	return nil
}

func (s *server) start(f frame.Frame) error {
	r := &run{server: s, id: f.Run, request: string(f.Body)}
	if err := json.Unmarshal(f.Meta, &r.meta); err != nil {
		return fmt.Errorf("reading a run: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.runs[r.id]; taken {
		return fmt.Errorf("%w: run %d exists", errProtocol, r.id)
	}
	if r.bundle = s.bundles[r.meta.Bundle]; r.bundle == nil {
		return fmt.Errorf("%w: run %d has an unknown bundle", errProtocol, r.id)
	}
	s.runs[r.id] = r
	go r.execute()
	return nil
}

// find returns a run in progress; nil for one that has ended, which is no error: the server may not know yet.
func (s *server) find(id uint32) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[id]
}

func (s *server) forget(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, id)
}

// send writes a frame with meta as JSON. An error means that the server is gone, and the process about to end.
func (s *server) send(f frame.Frame, meta any) error {
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	f.Meta = text
	return s.out.Write(f)
}

// syntaxError is what a *quickjs.Error says about a script that does not compile.
func syntaxError(name string, err error) string {
	var js *quickjs.Error
	if !errors.As(err, &js) {
		return err.Error()
	}
	return fmt.Sprintf("%s (%s:%d:%d)", js.Message, name, js.LineNumber, js.ColumnNumber)
}
