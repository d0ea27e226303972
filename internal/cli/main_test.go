package cli

import (
	"context"
	"os"
	"testing"
)

// TestMain lets the test binary be the runner process of the commands under test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "runner" {
		os.Exit(Main(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}
