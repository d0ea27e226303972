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

// trackRejections reports each promise that is rejected with nobody listening. The engine keeps only v's address, which is
// safe while v is reachable from Go: heap objects do not move.
func (v *VM) trackRejections() {
	lib.XJS_SetHostPromiseRejectionTracker(v.native.tls, v.native.rt, cFunc(onRejection), uintptr(unsafe.Pointer(v)))
}

func onRejection(tls *libc.TLS, ctx uintptr, promise, reason lib.TJSValue, handled int32, opaque uintptr) {
	v := (*VM)(pointer(opaque))
	key := *(*uintptr)(unsafe.Pointer(&promise))
	if r, seen := v.rejections[key]; seen && handled != 0 {
		r.Free()
		delete(v.rejections, key)
		return
	}
	// 8 are enough to name the mistake; a loop that leaks promises must not make the table grow.
	if handled == 0 && len(v.rejections) < 8 && v.rejections[key].IsUndefined() {
		v.rejections[key] = wrap(v.q, lib.XDupValue(tls, ctx, reason))
	}
}
