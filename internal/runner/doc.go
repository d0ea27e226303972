// Package runner executes integration functions in child processes of our own binary.
//
// A Pool keeps those processes, gives each run a virtual machine of its own in one of them, and answers its host calls
// through the Host the caller passes. The server never evaluates foreign code itself: whatever a function does to its
// process, the worst is that the process is killed and replaced.
//
// A process belongs to one tenant from its first run until it is replaced, so that functions of two environments never share
// memory. Package frame is the protocol, worker the inside of a process, vm the machine, jail the walls around it; js holds
// the JavaScript that every machine loads.
//
// What it promises: Run returns soon after its limits or its context end, with a typed reason; a run that hangs in native code
// is killed 2 s after it ignored the request to stop; the next run works. What breaks it: a Host that ignores its context (Run
// waits for every host call it started), and a Command that is not this program's "runner" command.
package runner
