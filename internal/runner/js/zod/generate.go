//go:build ignore

// Generate installs the pinned zod from npm in a temporary folder and bundles it into zod.js, without its locales other than
// English (they are half of its size). It needs npm and the network; the result is committed.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

const version = "4.3.6"

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "zod")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true}`), 0o600); err != nil {
		return err
	}
	install := exec.Command("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "zod@"+version)
	install.Dir, install.Stderr = dir, os.Stderr
	if err := install.Run(); err != nil {
		return fmt.Errorf("npm install: %w", err)
	}

	root := filepath.Join(dir, "node_modules", "zod")
	english := `export { default as en } from "./en.js";`
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{filepath.Join(root, "index.js")},
		Bundle:            true,
		Format:            api.FormatCommonJS,
		Target:            api.ES2023,
		MinifySyntax:      true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		Banner:            map[string]string{"js": "/* zod " + version + ", MIT, see LICENSE; made by generate.go */"},
		Plugins: []api.Plugin{{Name: "locales", Setup: func(b api.PluginBuild) {
			b.OnLoad(api.OnLoadOptions{Filter: `locales/index\.js$`}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
				return api.OnLoadResult{Contents: &english}, nil
			})
		}}},
	})
	if len(result.Errors) > 0 {
		return errors.New(result.Errors[0].Text)
	}
	if err := os.WriteFile("zod.js", result.OutputFiles[0].Contents, 0o644); err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return err
	}
	return os.WriteFile("LICENSE", license, 0o644)
}
