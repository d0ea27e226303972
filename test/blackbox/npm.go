package blackbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NPM installs what a folder's package-lock.json pins, unless it is there already (`make test-compat` sees to that).
func NPM(t testing.TB, folder string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json")); err == nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--prefix", folder, "--no-audit", "--no-fund")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in %s: %v\n%s", folder, err, out)
	}
}
