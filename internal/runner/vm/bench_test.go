package vm_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk"
	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

func benchmarkNew(b *testing.B, script string, zod bool) {
	e, err := vm.NewEngine(script)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	start := cpuTime(b)
	for b.Loop() {
		m, err := e.New(zod)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N)/1e6, "cpu-ms/op")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// What a machine costs before it has run anything.
func BenchmarkNewBare(b *testing.B) { benchmarkNew(b, `globalThis.__run = () => {}`, false) }
func BenchmarkNewSDK(b *testing.B)  { benchmarkNew(b, sdk.Runtime, false) }
func BenchmarkNewZod(b *testing.B)  { benchmarkNew(b, sdk.Runtime, true) }
