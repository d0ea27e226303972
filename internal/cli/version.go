package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release, set when it is built: -ldflags "-X github.com/patchbay-dev/patchbay/internal/cli.version=v1.2.3".
var version = "dev"

// Version is the release this binary is, with the commit when it was built from one.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
				return "dev-" + setting.Value[:12]
			}
		}
	}
	return version
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which release this is",
		Args:    cobra.NoArgs,
		Example: "  patchbay version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": Version(), "go": runtime.Version(), "platform": platform})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "patchbay %s (%s, %s)\n", Version(), runtime.Version(), platform)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
