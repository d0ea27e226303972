// Package vm runs one function bundle in one QuickJS virtual machine: it makes the machine, gives it the language surface that
// functions may use, and turns its event loop.
//
// An Engine belongs to a process and holds what its machines share: the compiler and the bytecode of the built-in modules. A
// VM is used for one Run and closed. It has no file, network or process access; the only way out is Job.Call, which the
// caller answers with Deliver.
//
// It promises that Run ends: a script that loops is interrupted when its CPU allowance is spent or Stop is called, one that
// hoards memory gets the engine's out-of-memory error, one that waits for nothing fails with ErrStuck. It can not promise
// this for a single native built-in (such as a huge Array.prototype.join), which the engine does not interrupt: whoever owns
// the process must be ready to kill it. Bytecode is never accepted from outside: the engine does not verify it.
package vm
