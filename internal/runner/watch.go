package runner

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// errMemoryCap is why a process was killed that took more memory than it may.
var errMemoryCap = errors.New("runner process over its memory limit")

// watchInterval is how often processes are looked at. A process can take about 1 GB in this time; RLIMIT_DATA stops it then.
const watchInterval = 250 * time.Millisecond

// lateExit is how long a process that was dismissed may take to end.
const lateExit = 10 * time.Second

// watch kills processes that occupy too much memory and ends those that have had nothing to do.
func (p *Pool) watch() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case now := <-tick.C:
			p.inspect(now)
		}
	}
}

func (p *Pool) inspect(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alive := len(p.procs)
	for _, proc := range p.procs {
		if proc.busy == 0 {
			if proc.retiring && now.Sub(proc.idle) > lateExit {
				proc.kill(errors.New("it was dismissed and did not end"))
			}
			if p.opts.IdleTimeout > 0 && alive > 1 && !proc.retiring && now.Sub(proc.idle) > p.opts.IdleTimeout {
				proc.retiring = true
				proc.dismiss()
				alive--
			}
			continue
		}
		if used := resident(proc.cmd.Process.Pid); p.opts.WorkerMemory > 0 && used > p.opts.WorkerMemory {
			proc.kill(fmt.Errorf("%w: %d MiB", errMemoryCap, used/mebibyte))
		}
	}
}

// resident is the memory a process occupies, in bytes; 0 where the system does not tell.
func resident(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
