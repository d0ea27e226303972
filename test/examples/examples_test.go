package examples_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/test/blackbox"
)

// limit is how long an example may take.
const limit = 60 * time.Second

// node prepares an example's script.
func node(ctx context.Context, t *testing.T, name string, env ...string) *exec.Cmd {
	t.Helper()
	folder := filepath.Join(blackbox.Root(t), "examples", name)
	blackbox.NPM(t, folder)
	cmd := exec.CommandContext(ctx, "node", "index.js")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func TestTheQuickstartRuns(t *testing.T) {
	t.Parallel()
	s := blackbox.Start(t, blackbox.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := node(ctx, t, "quickstart-node", "PATCHBAY_URL="+s.URL, "PATCHBAY_SECRET_KEY="+s.Environment("dev").SecretKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := regexp.MustCompile(`^connections: demo-user
proxied /v1/me: 200 \{.*\}
created: \S+ Ada Lovelace
synced: Ada Lovelace
records: 251
$`)
	if !want.Match(out) {
		t.Errorf("the quickstart printed\n%s", out)
	}
	if strings.Contains(string(out), s.Environment("dev").SecretKey) {
		t.Error("the quickstart printed the secret key")
	}
}

func TestTheWebhookReceiverTakesTheDemoSync(t *testing.T) {
	t.Parallel()
	port := blackbox.FreePorts(t, 1)[0]
	s := blackbox.Start(t, blackbox.Options{Args: []string{"--webhook-url", "http://127.0.0.1:" + port}})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := node(ctx, t, "webhook-receiver", "PORT="+port, "PATCHBAY_SIGNING_KEY="+s.Environment("dev").WebhookSigningKey)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening on ") {
		t.Fatalf("the receiver began with %q", lines.Text())
	}
	// The first run may have ended before the receiver listened, so there is something to tell about again.
	s.Must(blackbox.Request{Path: "/action/trigger", Body: map[string]any{
		"action_name": s.Sandbox.Action, "input": map[string]string{"firstName": "Grace", "lastName": "Hopper"},
	}, Header: map[string]string{"Provider-Config-Key": s.Sandbox.Integration, "Connection-Id": s.Sandbox.Connection}}, nil)
	s.Must(blackbox.Request{Path: "/sync/trigger", Body: map[string]any{
		"syncs": []string{s.Sandbox.Sync}, "provider_config_key": s.Sandbox.Integration, "connection_id": s.Sandbox.Connection,
	}}, nil)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "sync demo-user ok contacts Contact {") {
			return
		}
	}
	t.Errorf("the receiver was not told about the sync within %s", limit)
}
