package vm

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/libquickjs"
	"modernc.org/quickjs"
)

// native are the engine's own handles behind a quickjs.VM. The wrapper has no call for what is done with them here:
// compiling under a file name, switching eval off, watching unhandled rejections and reading the allocator. They are read by
// field name, so a new wrapper version that moves them fails in nativeOf with an error instead of corrupting memory.
type native struct {
	tls *libc.TLS
	rt  uintptr // JSRuntime*
	ctx uintptr // JSContext*

	malloc, realloc uintptr // the engine's own, see trackMemory
}

// nativeOf finds the handles of q.
func nativeOf(q *quickjs.VM) (n native, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("unknown layout of quickjs.VM: %v", p)
		}
	}()
	state := reflect.ValueOf(q).Elem().FieldByName("state")
	run := state.FieldByName("runtime").Elem()
	n = native{
		tls: (*libc.TLS)(run.FieldByName("tls").UnsafePointer()),
		rt:  uintptr(run.FieldByName("cRuntime").Uint()),
		ctx: uintptr(state.FieldByName("cContext").Uint()),
	}
	var mirror value
	real := reflect.TypeFor[quickjs.Value]()
	if real.Size() != unsafe.Sizeof(mirror) || real.Field(0).Name != "vm" || real.Field(1).Name != "v" {
		return n, errors.New("unknown layout of quickjs.Value")
	}
	return n, nil
}

// value has the layout of quickjs.Value (checked by nativeOf): it turns the engine's raw value into one the wrapper accepts.
type value struct {
	vm *quickjs.VM
	v  lib.TJSValue
}

func wrap(q *quickjs.VM, v lib.TJSValue) quickjs.Value {
	w := value{vm: q, v: v}
	return *(*quickjs.Value)(unsafe.Pointer(&w))
}

// pointer views a C address as a Go pointer. The memory behind it belongs to the engine's allocator, not to Go's heap.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// cFunc is the address by which the transpiled engine calls f.
func cFunc(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// compile turns a script into bytecode that remembers name and line numbers, but not the source text (half the size; only
// Function.prototype.toString misses it). It runs nothing. A syntax error is a *quickjs.Error.
func compile(q *quickjs.VM, name, source string) ([]byte, error) {
	n, err := nativeOf(q)
	if err != nil {
		return nil, err
	}
	lib.XJS_SetStripInfo(n.tls, n.rt, lib.MJS_STRIP_SOURCE)
	text, err := libc.CString(source)
	if err != nil {
		return nil, errNoMemory
	}
	defer libc.Xfree(n.tls, text)
	file, err := libc.CString(name)
	if err != nil {
		return nil, errNoMemory
	}
	defer libc.Xfree(n.tls, file)

	fn := lib.XJS_Eval(n.tls, n.ctx, text, libc.Tsize_t(len(source)), file, lib.MJS_EVAL_TYPE_GLOBAL|lib.MJS_EVAL_FLAG_COMPILE_ONLY)
	if fn.Ftag == lib.EJS_TAG_EXCEPTION {
		return nil, n.takeException(q)
	}
	defer lib.XFreeValue(n.tls, n.ctx, fn)

	size := int(unsafe.Sizeof(libc.Tsize_t(0)))
	length := n.tls.Alloc(size)
	defer n.tls.Free(size)
	buf := lib.XJS_WriteObject(n.tls, n.ctx, length, fn, lib.MJS_WRITE_OBJ_BYTECODE)
	if buf == 0 {
		return nil, n.takeException(q)
	}
	defer lib.Xjs_free(n.tls, n.ctx, buf)
	code := unsafe.Slice((*byte)(pointer(buf)), int(*(*libc.Tsize_t)(pointer(length))))
	return append([]byte(nil), code...), nil
}

func (n native) takeException(q *quickjs.VM) error {
	v := wrap(q, lib.XJS_GetException(n.tls, n.ctx))
	defer v.Free()
	return quickjs.ErrorFromValue(v)
}

// evalSwitch turns eval, Function and their kin on (with a value it returned before) or off (with 0). Bytecode still runs.
func (n native) evalSwitch(to uintptr) (was uintptr) {
	c := (*lib.TJSContext)(pointer(n.ctx))
	was, c.Feval_internal = c.Feval_internal, to
	return was
}

// allocated is what the engine holds now, in bytes: objects, strings, bytecode and array buffers of this VM.
func (n native) allocated() int64 {
	return int64((*lib.TJSRuntime)(pointer(n.rt)).Fmalloc_ctx.Fmalloc_state.Fmalloc_size)
}

// trackMemory notices when the engine is refused memory. The script may see little of it: without memory for an error object
// the engine throws null. So the first refusal also makes room for that object.
func (v *VM) trackMemory() {
	c := &(*lib.TJSRuntime)(pointer(v.native.rt)).Fmalloc_ctx
	v.native.malloc, v.native.realloc = c.Fmf.Fjs_malloc, c.Fmf.Fjs_realloc
	c.Fmalloc_state.Fopaque = uintptr(unsafe.Pointer(v)) // unused by the engine's own functions; see trackRejections
	c.Fmf.Fjs_malloc, c.Fmf.Fjs_realloc = cFunc(mallocTracked), cFunc(reallocTracked)
}

type (
	mallocFunc  = func(tls *libc.TLS, state uintptr, size libc.Tsize_t) uintptr
	reallocFunc = func(tls *libc.TLS, state, block uintptr, size libc.Tsize_t) uintptr
)

// errorRoom is what the limit grows by at the first refusal: an error with its stack and message, and what catches it.
const errorRoom = 256 << 10

func (v *VM) refused() {
	if !v.exhausted {
		v.exhausted = true
		(*lib.TJSRuntime)(pointer(v.native.rt)).Fmalloc_ctx.Fmalloc_state.Fmalloc_limit += errorRoom
	}
}

func mallocTracked(tls *libc.TLS, state uintptr, size libc.Tsize_t) uintptr {
	v := (*VM)(pointer((*lib.TJSMallocState)(pointer(state)).Fopaque))
	real := struct{ f uintptr }{v.native.malloc}
	block := (*(*mallocFunc)(unsafe.Pointer(&real)))(tls, state, size)
	if block == 0 {
		v.refused()
	}
	return block
}

func reallocTracked(tls *libc.TLS, state, old uintptr, size libc.Tsize_t) uintptr {
	v := (*VM)(pointer((*lib.TJSMallocState)(pointer(state)).Fopaque))
	real := struct{ f uintptr }{v.native.realloc}
	block := (*(*reallocFunc)(unsafe.Pointer(&real)))(tls, state, old, size)
	if block == 0 && size > 0 {
		v.refused()
	}
	return block
}

// trackRejections reports each promise that is rejected with nobody listening. The engine keeps only v's address, which is
// safe while v is reachable from Go: heap objects do not move.
func (v *VM) trackRejections() {
	lib.XJS_SetHostPromiseRejectionTracker(v.native.tls, v.native.rt, cFunc(onRejection), uintptr(unsafe.Pointer(v)))
}

func onRejection(tls *libc.TLS, ctx uintptr, promise, reason lib.TJSValue, handled int32, opaque uintptr) {
	v := (*VM)(pointer(opaque))
	key := *(*uintptr)(unsafe.Pointer(&promise))
	r, seen := v.rejections[key]
	switch {
	case seen && handled != 0:
		r.free()
		delete(v.rejections, key)
	case !seen && handled == 0 && len(v.rejections) < maxRejections:
		v.rejections[key] = rejection{
			promise: wrap(v.q, lib.XDupValue(tls, ctx, promise)),
			reason:  wrap(v.q, lib.XDupValue(tls, ctx, reason)),
		}
	}
}

// maxRejections is how many are reported: enough to name the mistake, and a loop that leaks promises must not make the table
// grow.
const maxRejections = 8

// rejection is a promise that was rejected and that nothing has handled so far. It is held, so that its address stays its name.
type rejection struct{ promise, reason quickjs.Value }

func (r *rejection) free() {
	r.promise.Free()
	r.reason.Free()
}
