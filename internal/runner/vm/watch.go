package vm

import (
	"runtime"
	"sync"
	"time"
)

// nudge is how often a turn that must stop is interrupted again: the engine forgets an interrupt when Go calls into it anew.
const nudge = 20 * time.Millisecond

// watch measures the CPU time of a machine's turns and interrupts the one that has used up the allowance. The limit is on
// CPU time, not on time passed, so that a busy computer does not fail innocent runs.
type watch struct {
	vm    *VM
	limit time.Duration // 0: none

	// Owned by the VM's goroutine.
	total time.Duration // all turns
	spent time.Duration // turns since the last answered host call

	mu     sync.Mutex
	timer  *time.Timer
	active bool
	clock  threadClock
	start  time.Duration
	closed bool
}

// begin starts a turn. The goroutine stays on its thread until end, so that the thread's CPU clock is the turn's.
func (w *watch) begin() {
	runtime.LockOSThread()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = newThreadClock()
	w.start = w.clock.read()
	w.active = true
	switch {
	case w.vm.stop.Load() != nil:
		w.arm(nudge)
	case w.limit > 0:
		w.arm(max(w.limit-w.spent, time.Millisecond))
	}
}

func (w *watch) end() {
	w.mu.Lock()
	w.active = false
	if w.timer != nil {
		w.timer.Stop()
	}
	used := w.clock.read() - w.start
	w.mu.Unlock()
	runtime.UnlockOSThread()
	w.total += used
	w.spent += used
}

// hurry makes a turn in progress stop: called after vm.stop was set.
func (w *watch) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active && !w.closed {
		w.vm.q.Interrupt()
		w.arm(nudge)
	}
}

func (w *watch) arm(d time.Duration) {
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.ring)
		return
	}
	w.timer.Reset(d)
}

// ring runs when the allowance may be spent: it interrupts the turn, or waits for the CPU time still left.
func (w *watch) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.active || w.closed {
		return
	}
	if w.vm.stop.Load() == nil {
		left := w.limit - w.spent - (w.clock.read() - w.start)
		if left > 0 {
			w.arm(max(left, time.Millisecond))
			return
		}
		if w.vm.stop.CompareAndSwap(nil, &ErrCPU) && w.vm.job.Overrun != nil {
			go w.vm.job.Overrun()
		}
	}
	w.vm.q.Interrupt()
	w.arm(nudge)
}

func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
