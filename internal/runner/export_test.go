package runner

import "time"

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
