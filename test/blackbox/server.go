package blackbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a start or a stop may take before the test gives up. A start takes well under a second on an idle
// machine; a test run keeps all processors busy.
const patience = 60 * time.Second

// Options of Start. The zero value is a demo server on SQLite in a temporary folder.
type Options struct {
	// DatabaseURL picks PostgreSQL; empty is SQLite.
	DatabaseURL string
	// Args follow `dev --json --data DIR --port N`.
	Args []string
	// Env are further variables of the process, NAME=value.
	Env []string
}

// Environment is one of the server's environments.
type Environment struct {
	Name              string `json:"name"`
	ID                any    `json:"id"`
	SecretKey         string `json:"secret_key"`
	WebhookSigningKey string `json:"webhook_signing_key"`
}

// Sandbox says where the built-in third party is and what the demo deployed for it.
type Sandbox struct {
	URL         string `json:"url"`
	Integration string `json:"integration"`
	Connection  string `json:"connection"`
	Sync        string `json:"sync"`
	Action      string `json:"action"`
}

// Ready is the line that `patchbay dev --json` prints once it serves.
type Ready struct {
	URL          string        `json:"url"`
	Environments []Environment `json:"environments"`
	Sandbox      Sandbox       `json:"sandbox"`
}

// Server is a running binary.
type Server struct {
	Ready

	// Line is the line that Ready was read from.
	Line string
	// Data is the folder that survives Kill9 and Restart.
	Data string

	t    testing.TB
	opts Options
	port string

	cmd    *exec.Cmd
	output *tail
	done   chan error // gets the result of Wait
}

// Binary is the path of the binary under test. The test fails when there is none.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("PATCHBAY_BIN")
	if path == "" {
		path = filepath.Join(Root(t), "bin", "patchbay")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no binary to test: run `make build`, or set PATCHBAY_BIN (%v)", err)
	}
	return path
}

// Root is the folder of the repository.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if root := filepath.Dir(filepath.Dir(filepath.Dir(file))); ok && filepath.IsAbs(root) {
		return root
	}
	// With -trimpath the file is named after the module: tests run in the folder of their package, below the root.
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		if folder == filepath.Dir(folder) {
			t.Fatal("the test does not run inside the repository")
		}
		folder = filepath.Dir(folder)
	}
}

// Start starts a server and waits until it is ready. It is killed when the test ends; what it wrote to standard error is shown
// if the test failed.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{t: t, opts: opts, Data: t.TempDir(), port: "0"}
	t.Cleanup(func() {
		s.Kill9()
		if t.Failed() {
			t.Logf("the end of the server's output:\n%s", s.output)
		}
	})
	s.start()
	return s
}

func (s *Server) start() {
	s.t.Helper()
	args := append([]string{"dev", "--json", "--data", s.Data, "--port", s.port}, s.opts.Args...)
	// It lives longer than any context of the test, until Kill9.
	cmd := exec.Command(Binary(s.t), args...)
	cmd.Env = append(cleanEnv(), s.opts.Env...)
	if s.opts.DatabaseURL != "" {
		cmd.Env = append(cmd.Env, "PATCHBAY_DATABASE_URL="+s.opts.DatabaseURL)
	}
	// A group of its own, so that Kill9 can clean up after it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.output == nil {
		s.output = &tail{}
	}
	cmd.Stderr = s.output
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", cmd.Path, err)
	}
	s.cmd, s.done = cmd, make(chan error, 1)
	line := make(chan string, 1)
	go func() { // ends when the process closes its output
		reader := bufio.NewReader(stdout)
		first, _ := reader.ReadString('\n') // a process that ends without a line is reported below
		line <- first
		_, _ = io.Copy(s.output, reader) // ends with the process
		s.done <- cmd.Wait()
	}()
	select {
	case s.Line = <-line:
	case <-time.After(patience):
		s.t.Fatalf("%v was not ready after %s:\n%s", cmd.Args, patience, s.output)
	}
	if err := json.Unmarshal([]byte(s.Line), &s.Ready); err != nil {
		s.t.Fatalf("%v printed %q instead of a JSON line: %v\n%s", cmd.Args, s.Line, err, s.output)
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Port() == "" {
		s.t.Fatalf("the URL %q has no port", s.URL)
	}
	s.port = u.Port() // a restarted server must be found where it was
}

// Kill9 kills the process as a power cut would. It may be called twice.
func (s *Server) Kill9() {
	if s.cmd == nil {
		return
	}
	// Only the process: its children have to notice by themselves.
	_ = s.cmd.Process.Kill() // it may have ended by itself
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("process %d did not end after SIGKILL: a child holds its output open", s.cmd.Process.Pid)
	}
	s.cmd = nil
}

// Restart starts the server again, on the same data and port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill9()
	s.start()
}

// Stop asks the process to end, as an operator does, and reports how it ended.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	select {
	case err := <-s.done:
		s.cmd = nil
		return err
	case <-time.After(patience):
		return errors.New("the process did not end after SIGTERM")
	}
}

// PID is the number of the running process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Output is the end of what the process wrote to standard error since the test began.
func (s *Server) Output() string { return s.output.String() }

// Environment is the environment of this name.
func (s *Server) Environment(name string) Environment {
	s.t.Helper()
	for _, e := range s.Environments {
		if e.Name == name {
			return e
		}
	}
	s.t.Fatalf("there is no environment %q in %s", name, s.Line)
	return Environment{}
}

// Run runs a command of the binary against the server, in the environment dev, and gives its standard output.
func (s *Server) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, Binary(s.t), args...)
	cmd.Env = append(cleanEnv(), "PATCHBAY_URL="+s.URL, "PATCHBAY_SECRET_KEY="+s.Environment("dev").SecretKey)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("patchbay %s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// cleanEnv is the environment of this process without what would configure the binary.
func cleanEnv() []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "PATCHBAY_") && !strings.HasPrefix(pair, "NANGO_") {
			env = append(env, pair)
		}
	}
	return env
}

// tailSize is how much of the output is kept, in bytes.
const tailSize = 64 << 10

// tail is a writer that keeps the end of what was written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if extra := len(b.text) - tailSize; extra > 0 {
		b.text = append([]byte(nil), b.text[extra:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	if b == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
