package vm

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadClock reads the CPU time of one thread of this process, from any thread.
type threadClock int32

// newThreadClock is the clock of the calling thread. The kernel encodes it as ^tid<<3 | 6: per thread, scheduler time.
func newThreadClock() threadClock { return threadClock(^unix.Gettid()<<3 | 6) }

func (c threadClock) read() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(c), &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
