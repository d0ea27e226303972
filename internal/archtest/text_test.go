package archtest

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// The patterns are put together from pieces so that this file does not match itself.
var (
	buildPaths = regexp.MustCompile(`(^|[^\w.~/)}-])/(` + `wo` + `rk/(main|shared)|tmp/` + `pb|root/` + `go)\b`)
	leftovers  = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	skips      = regexp.MustCompile(`\b(t|tb|b|f)\.` + `Skip(Now|f)?\(|testing\.` + `Short\(`)
	lockHosts  = regexp.MustCompile(`"resolved": "(https?://[^/"]+)`)
	sleeps     = regexp.MustCompile(`\btime\.` + `Sleep\(.*?\)`)
)

func TestNothingNamesTheMachineItWasWrittenOn(t *testing.T) {
	t.Parallel()
	eachText(t, func(name, text string) {
		if m := buildPaths.FindString(text); m != "" {
			t.Errorf("%s: the path %q exists on one machine only", name, strings.TrimSpace(m))
		}
		if strings.HasSuffix(name, "package-lock.json") {
			if m := lockHosts.FindStringSubmatch(text); m != nil {
				t.Errorf("%s: a package is resolved to %s; without a host npm asks the registry it is set up for", name, m[1])
			}
		}
	})
}

func TestNothingIsLeftForLater(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		text := read(t, f.name)
		if m := leftovers.FindString(text); m != "" && !f.generated {
			t.Errorf("%s: %s: do it, or propose it in an issue", f.name, m)
		}
		if m := skips.FindString(text); m != "" {
			t.Errorf("%s: %s: a test runs or is deleted; what it needs is installed by make test", f.name, m)
		}
	}
}

// pause is what a test may wait between two looks at something real. It is polling, and no test's outcome depends on it.
const pause = "time." + "Sleep(time.Millisecond)"

// TestTestsDoNotSleep: time is injected, or comes from a testing/synctest bubble. The black-box tests in test/ watch a real
// process and wait as they need.
func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		text := read(t, f.name)
		if !strings.HasSuffix(f.name, "_test.go") || strings.HasPrefix(f.name, "test/") || strings.Contains(text, `"testing/synctest"`) {
			continue
		}
		for _, call := range sleeps.FindAllString(text, -1) {
			if call != pause {
				t.Errorf("%s: %s is real time: inject the clock or use testing/synctest", f.name, call)
			}
		}
	}
}

// eachText calls check with every text file of the tree.
func eachText(t *testing.T, check func(name, text string)) {
	t.Helper()
	err := walk(func(name string) error {
		text, err := readFile(name)
		if err == nil && utf8.ValidString(text) && !strings.Contains(text, "\x00") {
			check(name, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
