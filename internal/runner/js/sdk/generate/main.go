// Command generate writes runtime.js from the modules in src/. It is run by go generate in the sdk folder.
package main

import (
	"fmt"
	"os"

	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk/bundle"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	script, err := bundle.Build(".")
	if err != nil {
		return err
	}
	if err := os.WriteFile("runtime.js", script, 0o644); err != nil {
		return fmt.Errorf("writing runtime.js: %w", err)
	}
	return nil
}
