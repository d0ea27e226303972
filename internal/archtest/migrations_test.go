package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBothEnginesHaveTheSameMigrations: one history for both engines, so that a schema version means the same on each, and
// numbers without a gap, so that two branches that took the same number are seen.
func TestBothEnginesHaveTheSameMigrations(t *testing.T) {
	t.Parallel()
	const parent = "internal/store/migrations/"
	files := map[string][]string{}
	err := walk(func(name string) error {
		if strings.HasPrefix(name, parent) && strings.HasSuffix(name, ".sql") {
			folder := path.Dir(name)
			files[folder] = append(files[folder], path.Base(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no migrations in %s", parent)
	}
	for folder, names := range files {
		slices.Sort(names)
		set, engine := path.Split(folder)
		other := "sqlite"
		if engine == "sqlite" {
			other = "postgres"
		}
		if diff := cmp.Diff(names, files[set+other]); diff != "" {
			t.Errorf("%s and %s%s differ:\n%s", folder, set, other, diff)
		}
		for i, name := range names {
			if want := fmt.Sprintf("%04d", i+1); !strings.HasPrefix(name, want+"_") {
				t.Errorf("%s/%s: the number %s is missing or taken twice", folder, name, want)
				break
			}
		}
	}
}
