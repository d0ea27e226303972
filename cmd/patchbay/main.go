// Patchbay is a self-hosted integration platform in one binary. See `patchbay --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/patchbay-dev/patchbay/internal/cli"
)

func main() { os.Exit(run()) }

// run returns, so that what it deferred happens before the process ends.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, os.Args[1:])
}
