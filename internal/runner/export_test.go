package runner

import (
	"os/exec"
	"time"
)

// RefuseNamespaces makes the pool meet a kernel that does not allow them. Call it before Start.
func (p *Pool) RefuseNamespaces() {
	real := p.confine
	p.confine = func(cmd *exec.Cmd, namespaces bool) {
		real(cmd, false)
		if namespaces {
			cmd.Path = "/operation not permitted"
		}
	}
}

// Pids are the pool's processes, for tests that kill them.
func (p *Pool) Pids() (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proc := range p.procs {
		pids = append(pids, proc.cmd.Process.Pid)
	}
	return pids
}

// Inspect looks at the processes as the watch does, at a time of the test's choosing.
func (p *Pool) Inspect(now time.Time) { p.inspect(now) }

// Busy is the number of runs that have a place in a process.
func (p *Pool) Busy() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proc := range p.procs {
		n += proc.busy
	}
	return n
}
