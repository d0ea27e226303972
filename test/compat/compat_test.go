package compat_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/test/blackbox"
)

// receivers is how many ports the suite may listen on for webhooks; one more is for nobody to listen on.
const receivers = 2

func TestTheUnmodifiedSDKWorks(t *testing.T) {
	t.Parallel()
	blackbox.NPM(t, ".")
	blackbox.Databases(t, func(t *testing.T, opts blackbox.Options) {
		ports := blackbox.FreePorts(t, receivers+1)
		for _, port := range ports {
			opts.Args = append(opts.Args, "--egress-allow=127.0.0.1:"+port)
		}
		s := blackbox.Start(t, opts)
		s.Must(blackbox.Request{Path: "/integrations", Body: map[string]any{
			"provider": "acme-crm", "unique_key": "compat",
			"credentials": map[string]string{"type": "OAUTH2", "client_id": "acme-client", "client_secret": "acme-secret"},
		}}, nil)
		if out, err := s.Run(t.Context(), "deploy", "functions", "--integration", "compat", "--yes"); err != nil {
			t.Fatalf("deploy the functions of the suite: %v\n%s", err, out)
		}
		secrets := filepath.Join(t.TempDir(), "secrets")
		runSuite(t, s, secrets, ports)
		noSecretInTheLogs(t, s, secrets)
	})
}

// suiteLimit is how long the suite may take on one database.
const suiteLimit = 5 * time.Minute

// runSuite runs the files of suite/ side by side.
func runSuite(t *testing.T, s *blackbox.Server, secrets string, ports []string) {
	t.Helper()
	files, err := filepath.Glob("suite/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("the suite has no files (%v)", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), suiteLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{"--test", "--test-reporter=spec"}, files...)...)
	cmd.Env = append(os.Environ(), "PATCHBAY_TEST_SERVER="+s.Line, "PATCHBAY_TEST_SECRETS="+secrets,
		"PATCHBAY_TEST_PORTS="+strings.Join(ports, ","), "NODE_NO_WARNINGS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node --test: %v\n%s", err, failures(string(out)))
	}
}

// failures is the end of the report, which repeats what failed with its reasons.
func failures(report string) string {
	if _, after, found := strings.Cut(report, "failing tests:"); found {
		return after
	}
	return report
}

// noSecretInTheLogs reads everything that both environments logged and looks for every secret that the suite knew.
func noSecretInTheLogs(t *testing.T, s *blackbox.Server, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("the suite noted no secrets: %v", err)
	}
	secrets := strings.Fields(string(text))
	for _, e := range s.Environments {
		secrets = append(secrets, e.SecretKey, e.WebhookSigningKey)
	}
	secrets = append(secrets, "acme-secret")
	slices.Sort(secrets)
	secrets = slices.Compact(secrets)
	if len(secrets) < 20 {
		t.Fatalf("the suite noted only %d secrets", len(secrets))
	}
	looked := 0
	look := func(where string, body []byte) {
		looked++
		for _, secret := range secrets {
			if strings.Contains(string(body), secret) {
				t.Errorf("%s holds a secret: …%s…", where, around(string(body), secret))
			}
		}
	}
	operations := pages(t, s, "/logs/operations", look)
	for _, id := range operations {
		pages(t, s, "/logs/operations/"+id+"/messages", look)
	}
	if len(operations) < 50 || looked < len(operations) {
		t.Errorf("only %d operations were logged", len(operations))
	}
	look("the process's own log", []byte(s.Output()))
	// The index is another copy of the text.
	for _, secret := range secrets {
		var found struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		query := url.Values{"search": {`"` + secret + `"`}}
		s.Must(blackbox.Request{Path: "/logs/operations?" + query.Encode()}, &found)
		if len(found.Data) > 0 {
			t.Errorf("a search for a secret finds operation %s", found.Data[0].ID)
		}
	}
}

// pages reads a list to its end, shows every page to look, and gives the ids of the rows.
func pages(t *testing.T, s *blackbox.Server, path string, look func(where string, body []byte)) []string {
	t.Helper()
	var ids []string
	for cursor := ""; ; {
		query := url.Values{"limit": {"1000"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		status, body, err := s.TryCall(blackbox.Request{Path: path + "?" + query.Encode()})
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %v, status %d: %s", path, err, status, body)
		}
		look(path, body)
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			Pagination struct {
				Cursor *string `json:"cursor"`
			} `json:"pagination"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Data {
			ids = append(ids, row.ID)
		}
		if page.Pagination.Cursor == nil {
			return ids
		}
		cursor = *page.Pagination.Cursor
	}
}

// around is what stands before a secret, which tells where it came from.
func around(text, secret string) string {
	at := strings.Index(text, secret)
	return text[max(0, at-160):at] + "[here]"
}

// TestAServerStopsWhenAsked is about the end of a process that nobody killed.
func TestAServerStopsWhenAsked(t *testing.T) {
	t.Parallel()
	s := blackbox.Start(t, blackbox.Options{})
	begun := time.Now()
	if err := s.Stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, s.Output())
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("an idle server took %s to stop", took)
	}
}
