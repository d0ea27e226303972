package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/sdk"
)

func TestInitBeginsAProjectAndKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "new", "p")
	out, _, err := run(t.Context(), "init", folder)
	if err != nil || strings.Count(out, "wrote ") != 3 {
		t.Fatalf("%s, %v", out, err)
	}
	if _, progress, err := run(t.Context(), "compile", folder); err == nil || !strings.Contains(progress, "no function is imported") {
		t.Errorf("%s, %v", progress, err)
	}
	write(t, folder, "index.ts", "import './github/syncs/issues.js';\n")
	write(t, folder, "github/syncs/issues.ts", simpleSync)
	write(t, folder, ".patchbay/types/nango.d.ts", "old")
	out, _, err = run(t.Context(), "init", folder)
	if err != nil || strings.Count(out, "wrote ") != 1 {
		t.Errorf("%s, %v", out, err)
	}
	if types, err := os.ReadFile(filepath.Join(folder, ".patchbay", "types", "nango.d.ts")); err != nil || string(types) != sdk.Types {
		t.Errorf("the types are not new: %v", err)
	}
	if out, _, err := run(t.Context(), "compile", folder); err != nil || out != "sync  github  issues  every hour\n" {
		t.Errorf("%s, %v", out, err)
	}
}
