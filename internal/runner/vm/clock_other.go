//go:build !linux

package vm

import "time"

// threadClock stands in for a thread's CPU clock where the system has none that other threads can read: it measures time
// passed, so a busy computer makes the CPU limit stricter.
type threadClock time.Time

func newThreadClock() threadClock { return threadClock(time.Now()) }

func (c threadClock) read() time.Duration { return time.Since(time.Time(c)) }
