// Package jail confines a runner process, in two halves: Confine prepares the command in the server, Enter completes the
// confinement inside the process before it runs anything foreign.
//
// On Linux the process gets an empty user namespace and a network namespace without interfaces, no new privileges, a system
// call filter that refuses files, sockets and processes, small resource limits, and death when its parent dies. It is the
// second wall: the virtual machine has no such functions to begin with. Where the kernel refuses a part, the rest still
// holds, and Isolation says what is missing. On other systems only the virtual machine protects.
package jail

import "strings"

// Isolation tells which walls stand around the runner processes.
type Isolation struct {
	// Namespaces: the process sees no network interface.
	Namespaces bool
	// Filter: the process can open no file and no socket and start no process.
	Filter bool
	// Problems says why a wall is missing.
	Problems []string
}

// Full reports whether a function that broke out of its virtual machine still could not reach network and files.
func (i Isolation) Full() bool { return i.Namespaces && i.Filter }

// String is for the operator's log.
func (i Isolation) String() string {
	var have []string
	if i.Namespaces {
		have = append(have, "network namespace")
	}
	if i.Filter {
		have = append(have, "system call filter")
	}
	if len(have) == 0 {
		have = append(have, "virtual machine only")
	}
	if len(i.Problems) > 0 {
		have = append(have, "missing: "+strings.Join(i.Problems, "; "))
	}
	return strings.Join(have, ", ")
}
