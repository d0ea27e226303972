package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/sdk"
)

const indexText = `// Every function of the project is imported here, one line each:
// import './github/syncs/issues.js';
`

// tsconfigText is what editors and tsc need. Compiling does not read it.
const tsconfigText = `{
    "compilerOptions": {
        "target": "ES2023",
        "lib": ["ES2023"],
        "module": "ESNext",
        "moduleResolution": "Bundler",
        "strict": true,
        "noUncheckedIndexedAccess": true,
        "isolatedModules": true,
        "skipLibCheck": true,
        "noEmit": true,
        "paths": { "nango": ["./.patchbay/types/nango.d.ts"] }
    }
}
`

func newInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Begin a project of functions",
		Long: "Makes the folder, an index.ts, a tsconfig.json and the types of the functions' runtime in .patchbay. What is there already is\n" +
			"left as it is, but for the types, which are those of this release. Types are for editors and for `npx tsc`, which also want\n" +
			"`npm install --save-dev typescript zod @types/node`; compiling and deploying needs none of it.",
		Example: "  patchbay init integrations\n" +
			"  patchbay init             # new types after an update",
		Args: upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := projectFolder(args)
			for _, file := range []struct {
				name, text string
				replace    bool
			}{
				{"index.ts", indexText, false}, {"tsconfig.json", tsconfigText, false}, {".patchbay/types/nango.d.ts", sdk.Types, true},
			} {
				written, err := writeFile(filepath.Join(folder, filepath.FromSlash(file.name)), file.text, file.replace)
				if err != nil {
					return err
				}
				if written {
					_, _ = fmt.Fprintln(cmd.OutOrStdout(), "wrote", filepath.Join(folder, file.name))
				}
			}
			return nil
		},
	}
}

// writeFile writes a file and its folder, unless it is there and not to be replaced.
func writeFile(path, text string, replace bool) (written bool, err error) {
	if _, err := os.Stat(path); err == nil && !replace {
		return false, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as below
		return false, err
	}
	return true, os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // it is the user's source code
}
