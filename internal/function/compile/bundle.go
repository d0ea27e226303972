package compile

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// projectFiles is esbuild's name space for the files of a project, which need not be on disk.
const projectFiles = "project"

// bundle makes one CommonJS text of an entry file.
func bundle(project fs.FS, entry Entry) (string, Problems) {
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{entry.File}, Bundle: true, Write: false, Format: api.FormatCommonJS, Platform: api.PlatformNeutral,
		Target:    api.ES2023, // what QuickJS runs; newer syntax is lowered
		Sourcemap: api.SourceMapInline, SourcesContent: api.SourcesContentInclude, LogLevel: api.LogLevelSilent, LogLimit: 100,
		Charset: api.CharsetUTF8, TreeShaking: api.TreeShakingTrue, Plugins: []api.Plugin{files(project)},
		TsconfigRaw: `{"compilerOptions":{"target":"esnext"}}`, // a tsconfig.json of the machine must not change the result
	})
	var problems Problems
	for _, message := range result.Errors {
		problems = append(problems, problemOf(entry, message))
	}
	if len(problems) > 0 {
		return "", problems
	}
	return string(result.OutputFiles[0].Contents), nil
}

func problemOf(entry Entry, message api.Message) Problem {
	p := Problem{File: entry.File, Message: message.Text}
	if at := message.Location; at != nil {
		p.File, p.Line, p.Column = strings.TrimPrefix(at.File, projectFiles+":"), at.Line, at.Column+1
	}
	for _, note := range message.Notes {
		p.Hint = note.Text
	}
	return p
}

// files resolves imports within the project and leaves those that the runtime provides.
func files(project fs.FS) api.Plugin {
	return api.Plugin{Name: projectFiles, Setup: func(build api.PluginBuild) {
		build.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			if args.Kind == api.ResolveEntryPoint {
				return api.OnResolveResult{Path: args.Path, Namespace: projectFiles}, nil
			}
			if !strings.HasPrefix(args.Path, ".") {
				return provided(args.Path), nil
			}
			name := path.Join(path.Dir(args.Importer), args.Path)
			file, ok := find(project, name)
			if !ok || strings.HasPrefix(name, "..") {
				return refuse(fmt.Sprintf("Could not resolve %q", args.Path), "no such file in the project"), nil
			}
			return api.OnResolveResult{Path: file, Namespace: projectFiles}, nil
		})
		build.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: projectFiles}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			data, err := fs.ReadFile(project, args.Path)
			if err != nil {
				return api.OnLoadResult{}, err
			}
			text := string(data)
			return api.OnLoadResult{Contents: &text, Loader: loader(args.Path)}, nil
		})
	}}
}

func provided(name string) api.OnResolveResult {
	if slices.Contains(Provided(), name) {
		return api.OnResolveResult{Path: name, External: true}
	}
	return refuse(fmt.Sprintf("The module %q is not available to functions", name),
		"available are "+strings.Join(Provided(), ", ")+" and the project's own files")
}

func refuse(text, note string) api.OnResolveResult {
	return api.OnResolveResult{Errors: []api.Message{{Text: text, Notes: []api.Note{{Text: note}}}}}
}

func loader(file string) api.Loader {
	switch path.Ext(file) {
	case ".ts":
		return api.LoaderTS
	case ".tsx":
		return api.LoaderTSX
	case ".json":
		return api.LoaderJSON
	default:
		return api.LoaderJS
	}
}
