package vm

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"modernc.org/quickjs"
	"modernc.org/quickjs/intl"
)

// The GC threshold of a new machine, in bytes. The engine's default of 256 KB would collect cycles several times while the
// built-in modules load, and find none.
const gcThreshold = 8 << 20

// VM is one machine, for one Run. Only Deliver and Stop may be called from other goroutines.
type VM struct {
	engine *Engine
	q      *quickjs.VM
	native native
	eval   uintptr // what switches eval on again, see evalSwitch

	core    map[string]quickjs.Value // what core.js returned, by name
	fault   error                    // why fetch returned nothing, for the 'fault' op
	job     *Job
	bundle  []byte
	calls   int // host calls without a reply
	timers  timerQueue
	settled bool
	outcome Outcome
	// exhausted: the engine was refused memory at least once.
	exhausted bool

	rejections map[uintptr]rejection // by the promise's address

	inbox *mailbox
	stop  atomic.Pointer[error]
	watch watch

	closeOnce sync.Once
}

// New makes a machine with the globals and the SDK loaded; with zod set, zod too (3.5 ms more CPU, 2 MB more memory).
func (e *Engine) New(zod bool) (*VM, error) {
	q, err := quickjs.NewVM()
	if err != nil {
		return nil, fmt.Errorf("new machine: %w", err)
	}
	v := &VM{
		engine:     e,
		q:          q,
		rejections: map[uintptr]rejection{},
		inbox:      newMailbox(),
	}
	v.watch.vm = v
	if err := v.prepare(zod); err != nil {
		return nil, errors.Join(fmt.Errorf("new machine: %w", err), v.Close())
	}
	return v, nil
}

func (v *VM) prepare(zod bool) (err error) {
	if v.native, err = nativeOf(v.q); err != nil {
		return err
	}
	v.q.SetGCThreshold(gcThreshold)
	v.q.SetCanBlock(false) // Atomics.wait throws
	v.eval = v.native.evalSwitch(0)
	v.trackRejections()
	v.trackMemory()

	if err := v.q.RegisterHostFunc("native", v.nativeOp); err != nil {
		return err
	}
	if err := v.q.RegisterFunc("fetch", v.fetch, false); err != nil {
		return err
	}
	if err := v.loadCore(); err != nil {
		return err
	}
	if err := v.loadSDK(); err != nil {
		return err
	}
	if zod {
		if err := v.do("load", moduleZod); err != nil {
			return err
		}
	}
	return nil
}

// loadCore evaluates core.js with the two Go functions, takes them off the global object, and keeps what it returned.
func (v *VM) loadCore() error {
	global := v.q.GlobalObject()
	defer global.Free()
	args := make([]any, 0, 2)
	for _, name := range []string{"native", "fetch"} {
		f, err := v.property(global, name)
		if err != nil {
			return err
		}
		defer f.Free()
		args = append(args, f)
	}
	code, err := v.engine.builtin(moduleCore)
	if err != nil {
		return err
	}
	fn, err := v.q.EvalBytecodeValue(code)
	if err != nil {
		return err
	}
	defer fn.Free()
	core, err := fn.CallValue(quickjs.UndefinedValue, args...)
	if err != nil {
		return fmt.Errorf("core: %w", err)
	}
	defer core.Free()
	v.core = map[string]quickjs.Value{}
	for _, name := range []string{"host", "bundle", "require", "load", "deliver", "fire", "adopt", "run", "describe"} {
		if v.core[name], err = v.property(core, name); err != nil {
			return err
		}
	}
	return nil
}

func (v *VM) loadSDK() error {
	code, err := v.engine.builtin(moduleSDK)
	if err != nil {
		return err
	}
	fn, err := v.q.EvalBytecodeValue(code)
	if err != nil {
		return err
	}
	defer fn.Free()
	if _, err := fn.Call(quickjs.UndefinedValue, v.core["host"], v.core["bundle"], v.core["require"]); err != nil {
		return fmt.Errorf("sdk: %w", err)
	}
	found, err := v.call("adopt")
	if err != nil {
		return err
	}
	if found != true {
		return errors.New("sdk: defines no __run")
	}
	return nil
}

// do runs one of the functions of core.js for its effect.
func (v *VM) do(name string, args ...any) error {
	r, err := v.core[name].CallValue(quickjs.UndefinedValue, args...)
	if err != nil {
		return err
	}
	r.Free()
	return nil
}

// call runs one of the functions of core.js and converts its result.
func (v *VM) call(name string, args ...any) (any, error) {
	return v.core[name].Call(quickjs.UndefinedValue, args...)
}

func (v *VM) property(of quickjs.Value, name string) (quickjs.Value, error) {
	atom, err := v.q.NewAtom(name)
	if err != nil {
		return quickjs.Value{}, err
	}
	return of.GetPropertyValue(atom)
}

// fetch is the JavaScript function fetch(name): a built-in module, or the run's own bundle, as a function. It can not throw:
// undefined means that the 'fault' op has the reason.
func (v *VM) fetch(name string) quickjs.Value {
	code := v.bundle
	if name != "bundle" {
		var err error
		if code, err = v.engine.builtin(name); err != nil {
			v.fault = err
			return quickjs.UndefinedValue
		}
	}
	if code == nil {
		v.fault = errNoModule
		return quickjs.UndefinedValue
	}
	fn, err := v.q.EvalBytecodeValue(code)
	if err != nil {
		v.fault = err
		return quickjs.UndefinedValue
	}
	return fn
}

// installIntl adds Intl and the locale-aware formatters, in UTC and en-US.
func (v *VM) installIntl() error {
	v.native.evalSwitch(v.eval) // its script arrives as source
	defer v.native.evalSwitch(0)
	return intl.Register(v.q, intl.TimeZone("UTC"))
}

// Close frees the machine. A second call does nothing.
func (v *VM) Close() (err error) {
	v.closeOnce.Do(func() {
		v.watch.close()
		for _, c := range v.core {
			c.Free()
		}
		for _, r := range v.rejections {
			r.free()
		}
		err = v.q.Close()
	})
	return err
}
