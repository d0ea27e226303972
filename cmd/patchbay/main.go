// Patchbay is a self-hosted integration platform in one binary. See `patchbay --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/patchbay-dev/patchbay/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:]))
}
