//go:build linux

package jail_test

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/jail"
)

// attempts is what the confined process reports about itself.
type attempts struct {
	Filtered   bool
	Problem    string
	Interfaces int
	Pipe       bool // descriptor 3 is a pipe
	Env        []string
	// Errors of what it tried, by name; "" means that it succeeded.
	Errors map[string]string
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "confined" {
		confined()
		return
	}
	os.Exit(m.Run())
}

// confined runs in the child.
func confined() {
	var a attempts
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 {
			a.Interfaces++
		}
	}
	filtered, err := jail.Enter(jail.Limits{Data: 256<<20 + overhead})
	a.Filtered, a.Env, a.Errors = filtered, os.Environ(), map[string]string{}
	if err != nil {
		a.Problem = err.Error()
	}
	var st syscall.Stat_t
	a.Pipe = syscall.Fstat(3, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFIFO
	try := func(name string, err error) {
		a.Errors[name] = ""
		if err != nil {
			a.Errors[name] = err.Error()
		}
	}
	_, err = os.ReadFile("/etc/hostname")
	try("read a file", err)
	try("write a file", os.WriteFile("/tmp/jail-test", nil, 0o600))
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	try("connect", err)
	_, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	try("socket", err)
	try("start a process", exec.Command("/bin/true").Run())
	try("signal the parent", syscall.Kill(os.Getppid(), 0))
	_, err = os.Stat("/etc")
	try("stat", err)
	_, err = syscall.Dup(0)
	try("nothing forbidden", err)

	// Threads, memory, timers and the garbage collector must go on working.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			_ = make([]byte, 1<<20)
		})
	}
	wg.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(a)
}

func runConfined(t *testing.T, namespaces bool, extra *os.File) attempts {
	t.Helper()
	cmd := exec.Command(os.Args[0], "confined")
	cmd.Env, cmd.Stderr = []string{"TZ=UTC"}, os.Stderr
	if extra != nil {
		cmd.ExtraFiles = []*os.File{extra}
	}
	jail.Confine(cmd, namespaces)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var a attempts
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return a
}

func TestConfinedProcessCanReachNothing(t *testing.T) {
	t.Parallel()
	a := runConfined(t, false, nil)
	if !a.Filtered || a.Problem != "" {
		t.Fatalf("not confined: %s", a.Problem)
	}
	for name, err := range a.Errors {
		if allowed := name == "nothing forbidden"; (err == "") != allowed {
			t.Errorf("%s: %q", name, err)
		}
	}
	if len(a.Env) != 1 {
		t.Errorf("environment: %q", a.Env)
	}
}

// A host may refuse namespaces; then Start says so, and the process is started without.
func TestNamespaceHasNoNetwork(t *testing.T) {
	t.Parallel()
	probe := exec.Command("/bin/true")
	jail.Confine(probe, true)
	if err := probe.Run(); err != nil {
		if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("an unexpected refusal: %v", err)
		}
		return
	}
	if a := runConfined(t, true, nil); a.Interfaces != 0 || !a.Filtered {
		t.Errorf("got %+v", a)
	}
}

func TestInheritedFilesAreClosed(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	if a := runConfined(t, false, w); a.Pipe {
		t.Error("an inherited pipe is still open in the confined process")
	}
}
