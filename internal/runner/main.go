package runner

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk"
	"github.com/patchbay-dev/patchbay/internal/runner/worker"
)

// Main is the "runner" command: it serves the Pool that started this process over in and out (its standard input and output)
// and returns the exit code when in ends or ctx does. It gives up rights that the process never gets back.
func Main(ctx context.Context, in io.Reader, out io.Writer) int {
	return serve(ctx, in, out, sdk.Runtime)
}

func serve(ctx context.Context, in io.Reader, out io.Writer, script string) int {
	// A terminal's Ctrl-C and a service manager's stop reach every process of the server. The server decides when this one ends:
	// it closes in, or kills.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Nearly all memory here is the engine's, outside of Go's heap: what Go itself allocates is small and short-lived.
	debug.SetGCPercent(400)
	ended := make(chan error, 1)
	go func() { ended <- worker.Serve(in, out, script) }()
	select {
	case <-ctx.Done():
		return 0
	case err := <-ended:
		if err != nil {
			fmt.Fprintln(os.Stderr, "patchbay runner:", err)
			return 1
		}
		return 0
	}
}
