// Package crash kills the built binary with SIGKILL while it works, starts it again on the same data, and looks at what is left:
// nothing that was answered is lost, nothing is done by halves, and what was promised arrives.
package crash
