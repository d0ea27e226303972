// Package worker is the inside of a runner process: it takes runs from the server over a pair of streams, executes each in a
// virtual machine of its own, and passes host calls and their replies between the two.
//
// The process is disposable. It serves functions of one environment, keeps their bytecode and a few machines ready, and ends
// when its input ends; the server kills it when a run does not stop. Nothing in it is secret from the functions it runs but
// what other runs of the same environment hold in memory.
package worker
