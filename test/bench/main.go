// Bench measures what docs/performance.md promises and writes that page: start-up time and idle memory of the built binary, and
// processor time per operation from the packages' benchmarks.
//
//	go run ./test/bench -write docs/performance.md
//
// PATCHBAY_BIN names the binary, default bin/patchbay. Each figure stands beside its limit and the command that gave it. A figure
// over its limit is marked and makes the exit status 1; the page is written all the same.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	write := flag.String("write", "", "file to write the page to; without it the page is printed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	over, err := run(ctx, *write)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if over > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d figures are over their limit\n", over)
		os.Exit(1)
	}
}

// run measures and writes, and gives how many figures are over their limit.
func run(ctx context.Context, path string) (over int, err error) {
	var rows []row
	idle, err := measureBinary(ctx)
	if err != nil {
		return 0, err
	}
	rows = append(rows, idle...)
	for _, b := range benchmarks() {
		fmt.Fprintln(os.Stderr, b.command())
		measured, err := b.run(ctx)
		if err != nil {
			return 0, err
		}
		rows = append(rows, measured...)
	}
	for _, r := range rows {
		if r.over() {
			over++
		}
	}
	page := render(machine(), rows)
	if path == "" {
		_, err = os.Stdout.WriteString(page)
		return over, err
	}
	return over, os.WriteFile(path, []byte(page), 0o644) // a page of the documentation, for everybody to read
}
