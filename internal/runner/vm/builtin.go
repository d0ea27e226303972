package vm

import (
	"errors"
	"fmt"
	"sync"

	"modernc.org/quickjs"

	"github.com/patchbay-dev/patchbay/internal/runner/js/globals"
	"github.com/patchbay-dev/patchbay/internal/runner/js/zod"
)

var (
	errNoMemory = errors.New("no memory for the engine")
	errNoModule = errors.New("no such built-in module")
)

// Engine compiles scripts and makes virtual machines. Safe for concurrent use.
type Engine struct {
	sdk string

	mu       sync.Mutex
	compiler *quickjs.VM // compiles, and never runs anything
	builtins map[string]builtin

	collators sync.Map // options → *sync.Pool of *collate.Collator: costly to make, and each serves one caller at a time
}

type builtin struct {
	code []byte
	err  error
}

// NewEngine starts an engine whose machines load sdk, the script that defines globalThis.__run. Close it after its machines.
func NewEngine(sdk string) (*Engine, error) {
	q, err := quickjs.NewVM()
	if err != nil {
		return nil, fmt.Errorf("starting the compiler: %w", err)
	}
	if _, err := nativeOf(q); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return &Engine{sdk: sdk, compiler: q, builtins: map[string]builtin{}}, nil
}

// Close frees the compiler.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.compiler.Close()
}

// bundleOpen wraps a CommonJS text. It stands on the text's first line, so that only columns of that line move.
const bundleOpen = "(function(exports,require,module){"

// FirstColumn is by how much the columns of a bundle's first line are larger in error stacks than in its text.
const FirstColumn = len(bundleOpen)

// CompileBundle compiles a CommonJS text. name is what error stacks show. The error is a *quickjs.Error for a syntax error.
func (e *Engine) CompileBundle(name, code string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return compile(e.compiler, name, bundleOpen+code+"\n})")
}

// The built-in modules: name → wrapper. The SDK gets its two primitives as parameters, so that they are no globals.
const (
	moduleCore = "core"
	moduleSDK  = "sdk"
	moduleZod  = "zod"
)

func (e *Engine) source(name string) (string, bool) {
	switch name {
	case moduleSDK:
		return "(function(__host,__loadBundle,require){" + e.sdk + "\n})", true
	case moduleZod:
		return bundleOpen + zod.Source + "\n})", true
	}
	text, ok := globals.Source(name)
	return text, ok
}

// builtin returns the bytecode of a built-in module, compiled at first use.
func (e *Engine) builtin(name string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.builtins[name]
	if !ok {
		if text, found := e.source(name); found {
			b.code, b.err = compile(e.compiler, "patchbay:"+name, text)
		} else {
			b.err = errNoModule
		}
		e.builtins[name] = b
	}
	if b.err != nil {
		return nil, fmt.Errorf("built-in module %s: %w", name, b.err)
	}
	return b.code, nil
}
