package runner

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"github.com/patchbay-dev/patchbay/internal/runner/sourcemap"
	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

// mapStacks rewrites the places in a function's stacks from the bundle to the author's files, where the bundle has a source
// map: "fn (act-github.cjs:120:15)" becomes "fn (github/actions/act.ts:42:9)".
func mapStacks(e *FunctionError, bundle Bundle) {
	if bundle.Name == "" {
		return
	}
	var payload map[string]json.RawMessage
	var lines []string
	if json.Unmarshal(e.Payload, &payload) == nil {
		_ = json.Unmarshal(payload["stacktrace"], &lines) // absent, or the function's own idea of one
	}
	if e.Stack == "" && len(lines) == 0 {
		return
	}
	places, err := sourcemap.FromScript(bundle.Code)
	if err != nil {
		return // the stack stays that of the bundle
	}
	place := regexp.MustCompile(regexp.QuoteMeta(bundle.Name) + `:(\d+):(\d+)`)
	rewrite := func(text string) string {
		return place.ReplaceAllStringFunc(text, func(found string) string {
			parts := place.FindStringSubmatch(found)
			line, _ := strconv.Atoi(parts[1]) // digits; too many find nothing
			column, _ := strconv.Atoi(parts[2])
			if line == 1 {
				column -= vm.FirstColumn
			}
			p, ok := places.Find(line, column)
			if !ok {
				return found
			}
			return fmt.Sprintf("%s:%d:%d", p.Source, p.Line, p.Column)
		})
	}
	e.Stack = rewrite(e.Stack)
	if len(lines) == 0 {
		return
	}
	for i := range lines {
		lines[i] = rewrite(lines[i])
	}
	text, err := json.Marshal(lines)
	if err != nil {
		return
	}
	payload["stacktrace"] = text
	if text, err = json.Marshal(payload); err == nil {
		e.Payload = text
	}
}
