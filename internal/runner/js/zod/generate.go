//go:build ignore

// Generate installs the pinned zod from npm in a temporary folder and makes zod.js and LICENSE of it. It needs npm and the
// network; the result is committed.
//
// zod.js is one CommonJS text without the locales other than English (half of the package). A machine loads it for nearly every
// run, so what costs time at load and is rarely used is made lazy, without a change in behaviour:
//
//   - The module's namespaces are plain objects, made when they are first touched, instead of 1,100 getters made at load.
//   - A class that zod makes for each of its 155 types, and uses only for those with a parent, is made only for those.
//
// Each change looks for the exact text it replaces and fails if a new version of zod does not have it.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

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
	text, err := bundle(root)
	if err != nil {
		return err
	}
	if text, err = lazyNamespaces(text); err != nil {
		return err
	}
	if text, err = replace(text, definition, lazyDefinition); err != nil {
		return err
	}
	if text, err = minify(text); err != nil {
		return err
	}
	if err := os.WriteFile("zod.js", []byte(text), 0o644); err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return err
	}
	return os.WriteFile("LICENSE", license, 0o644)
}

// bundle joins the package's modules into one.
func bundle(root string) (string, error) {
	english := `export { default as en } from "./en.js";`
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join(root, "index.js")},
		Bundle:      true,
		Format:      api.FormatESModule,
		Target:      api.ES2023,
		Plugins: []api.Plugin{{Name: "locales", Setup: func(b api.PluginBuild) {
			b.OnLoad(api.OnLoadOptions{Filter: `locales/index\.js$`}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
				return api.OnLoadResult{Contents: &english}, nil
			})
		}}},
	})
	if len(result.Errors) > 0 {
		return "", errors.New(result.Errors[0].Text)
	}
	return string(result.OutputFiles[0].Contents), nil
}

func minify(text string) (string, error) {
	result := api.Transform(text, api.TransformOptions{
		Target:            api.ES2023,
		Format:            api.FormatCommonJS,
		MinifySyntax:      true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		Banner:            "/* zod " + version + ", MIT, see LICENSE; changed by generate.go */",
	})
	if len(result.Errors) > 0 {
		return "", errors.New(result.Errors[0].Text)
	}
	return string(result.Code), nil
}

// replace changes the one occurrence of old.
func replace(text, old, new string) (string, error) {
	if n := strings.Count(text, old); n != 1 {
		return "", fmt.Errorf("found %d times, not once:\n%s", n, old)
	}
	return strings.Replace(text, old, new, 1), nil
}

const definition = `  const Parent = params?.Parent ?? Object;
  class Definition extends Parent {
  }
  Object.defineProperty(Definition, "name", { value: name });
`

const lazyDefinition = `  let Definition;
  if (params?.Parent) {
    Definition = class extends params.Parent {
    };
    Object.defineProperty(Definition, "name", { value: name });
  }
`

var (
	namespace = regexp.MustCompile(`(?ms)^var (\w+) = \{\};\n(?:__export\(\w+, \{\n(.*?)\n\}\);\n)?`)
	member    = regexp.MustCompile(`^  (\w+|\$\w+): \(\) => ([\w$]+),?$`)
	exports   = regexp.MustCompile(`(?s)\nexport \{\n(.*?)\n\};\n$`)
	export    = regexp.MustCompile(`^  ([\w$]+)(?: as ([\w$]+))?,?$`)
	// The object of from-json-schema.js, which copies two namespaces at load.
	copied = regexp.MustCompile(`(?s)\nvar z = \{\n  \.\.\.(\w+),\n  \.\.\.(\w+),\n  iso: (\w+)\n\};\n`)
)

// pair is a name in a namespace and the variable behind it.
type pair struct{ name, variable string }

// lazyNamespaces replaces the namespaces, which the bundler makes of getters at load, by functions that make plain objects.
func lazyNamespaces(text string) (string, error) {
	spaces := map[string][]pair{}
	for _, found := range namespace.FindAllStringSubmatch(text, -1) {
		name := found[1]
		if !strings.Contains(name, "_exports") {
			continue
		}
		pairs := []pair{}
		for _, line := range strings.Split(found[2], "\n") {
			if line == "" {
				continue
			}
			m := member.FindStringSubmatch(line)
			if m == nil {
				return "", fmt.Errorf("unexpected line in namespace %s: %q", name, line)
			}
			pairs = append(pairs, pair{m[1], m[2]})
		}
		spaces[name] = pairs
		text = strings.Replace(text, found[0], "", 1)
	}
	last := exports.FindStringSubmatch(text)
	if last == nil || len(spaces) < 8 {
		return "", fmt.Errorf("%d namespaces, exports %t", len(spaces), last != nil)
	}
	text = strings.TrimSuffix(text, last[0])
	helper := "var __defProp = Object.defineProperty;\nvar __export = (target, all) => {\n  for (var name in all)\n" +
		"    __defProp(target, name, { get: all[name], enumerable: true });\n};\n"
	text, err := replace(text, helper, "")
	if err != nil {
		return "", err
	}

	c := copied.FindStringSubmatch(text)
	if c == nil {
		return "", errors.New("from-json-schema.js has no object z")
	}
	before, after, _ := strings.Cut(text, c[0])
	section, rest, found := strings.Cut(after, "\n// ")
	if !found || !strings.Contains(section, "function fromJSONSchema(") {
		return "", errors.New("from-json-schema.js is not where it was")
	}
	section = regexp.MustCompile(`\bz\.`).ReplaceAllString(section, "z().")
	if regexp.MustCompile(`[^.\w$]z[^(\w$:]`).MatchString(section) {
		return "", errors.New("from-json-schema.js uses z in a new way")
	}
	z := fmt.Sprintf("\nvar zOnce;\nfunction z() {\n  return zOnce ??= { ...%s, ...%s, iso: %s };\n}\n", c[1], c[2], c[3])
	text = before + z + section + "\n// " + rest

	for name, pairs := range spaces {
		// A member that is used by name needs no namespace.
		for _, p := range pairs {
			use := regexp.MustCompile(`\b` + name + `\.` + regexp.QuoteMeta(p.name) + `\b`)
			text = use.ReplaceAllLiteralString(text, p.variable)
		}
		text = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(text, name+"()")
	}
	names := make([]string, 0, len(spaces))
	for name := range spaces {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text += fmt.Sprintf("var %sOnce;\nfunction %s() {\n  return %sOnce ??= {\n%s  };\n}\n", name, name, name, literal(spaces[name], spaces))
	}

	var pairs []pair
	for _, line := range strings.Split(last[1], "\n") {
		m := export.FindStringSubmatch(line)
		if m == nil {
			return "", fmt.Errorf("unexpected line in the exports: %q", line)
		}
		p := pair{m[1], m[1]}
		if m[2] != "" {
			p.name = m[2]
		}
		if p.name != "z" && p.name != "default" {
			pairs = append(pairs, p)
		}
	}
	// z is the module itself: it has the same members, and these two.
	return text + "module.exports = {\n" + literal(pairs, spaces) + "};\n" +
		"module.exports.z = module.exports;\nmodule.exports.default = module.exports;\n" +
		"Object.defineProperty(module.exports, \"__esModule\", { value: true });\n", nil
}

// literal writes the members of an object: variables by value, namespaces as getters.
func literal(pairs []pair, spaces map[string][]pair) string {
	var b strings.Builder
	for _, p := range pairs {
		if _, isSpace := spaces[p.variable]; isSpace {
			fmt.Fprintf(&b, "    get %s() { return %s(); },\n", p.name, p.variable)
			continue
		}
		fmt.Fprintf(&b, "    %s: %s,\n", p.name, p.variable)
	}
	return b.String()
}
