package sandbox_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

func TestARestartKeepsEverythingThatWasAnswered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.json")
	options := sandbox.Options{SnapshotPath: path, Client: http.DefaultClient}
	a := start(t, options)
	access, refresh := a.issue(t)
	spent, stolen := a.issue(t)
	a.refresh(t, 200, stolen)
	rotated := a.refresh(t, 200, refresh)
	code := approved(t, a)
	a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "New"}).want(t, 201)
	a.keyed("PATCH", "/v1/contacts/con_000007", map[string]string{"phone": "7"}).want(t, 200)
	a.keyed("DELETE", "/v1/contacts/con_000009", nil).want(t, 204)
	a.do("POST", "/_sandbox/contacts/touch", `{"count":3}`).want(t, 200)
	a.do("POST", "/_sandbox/webhooks", `{"url":"http://app.test","secret":"s"}`).want(t, 201)
	a.script(t, `[{"times":-1,"status":500}]`)
	a.do("DELETE", "/_sandbox/faults", nil)
	before := byCursor(t, a, "/v1/contacts?limit=100&updated_since=1")
	counted, hooks := a.stats(t), a.hooks(t)
	if err := os.WriteFile(path+".tmp", []byte(`{"half`), 0o600); err != nil { // as a kill in the middle of a write leaves it
		t.Fatal(err)
	}

	b := start(t, options) // a is never closed
	if diff := cmp.Diff(before, byCursor(t, b, "/v1/contacts?limit=100&updated_since=1")); diff != "" {
		t.Errorf("contacts:\n%s", diff)
	}
	if diff := cmp.Diff(counted, b.stats(t)); diff != "" {
		t.Errorf("stats:\n%s", diff)
	}
	if diff := cmp.Diff(hooks, b.hooks(t)); diff != "" {
		t.Errorf("webhooks:\n%s", diff)
	}
	if b.me(access) != 200 || b.me(rotated.AccessToken) != 200 || b.me(spent) != 200 {
		t.Error("an access token was lost")
	}
	b.refresh(t, 200, rotated.RefreshToken)
	if got := b.refresh(t, 400, stolen); got.Error != "invalid_grant" || b.stats(t).ReuseDetected != 1 || b.me(spent) != 401 {
		t.Errorf("reuse of a token spent before the restart: %+v", got)
	}
	b.token(t, 200, "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
	var made contact
	b.keyed("POST", "/v1/contacts", map[string]string{"last_name": "Next"}).into(t, 201, &made)
	if made.ID != "con_1000002" {
		t.Errorf("the next contact is %s", made.ID)
	}
	c := start(t, options)
	if got := c.refresh(t, 400, stolen); got.Description != "refresh token was revoked" {
		t.Errorf("the revocation was lost: %+v", got)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 {
		t.Errorf("the snapshot has mode %o", mode)
	}
}

func TestAnotherContactCountKeepsTheChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.json")
	a := start(t, sandbox.Options{SnapshotPath: path, Contacts: 10})
	var made, changed, got contact
	a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "New"}).into(t, 201, &made)
	a.keyed("PATCH", "/v1/contacts/con_000008", map[string]string{"phone": "8"}).into(t, 200, &changed)
	for count, total := range map[int]int{20: 21, 5: 7} {
		b := start(t, sandbox.Options{SnapshotPath: path, Contacts: count})
		if all := byCursor(t, b, "/v1/contacts?"); len(all) != total {
			t.Errorf("%d contacts, want %d", len(all), total)
		}
		for _, want := range []contact{made, changed} {
			if b.keyed("GET", "/v1/contacts/"+want.ID, nil).into(t, 200, &got); got != want {
				t.Errorf("with %d contacts: %+v, want %+v", count, got, want)
			}
		}
	}
}

func TestNewRefusesWhatItCanNotKeep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "acme.json")
	start(t, sandbox.Options{SnapshotPath: path, Seed: 1}).issue(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.json")
	for name, body := range map[string]string{
		"truncated": string(good[:len(good)/2]), "format": strings.Replace(string(good), `"format":1`, `"format":2`, 1),
		"contact": strings.Replace(string(good), `"contacts":null`, `"contacts":[{"id":"x"}]`, 1), "grants": strings.Replace(string(good), `"codes":{}`, `"codes":null`, 1),
	} {
		if body == string(good) {
			t.Fatalf("%s: nothing was damaged in %s", name, good)
		}
		if err := os.WriteFile(damaged, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sandbox.New(sandbox.Options{SnapshotPath: damaged}); err == nil || !strings.Contains(err.Error(), damaged) {
			t.Errorf("%s: %v", name, err)
		}
		if kept, _ := os.ReadFile(damaged); string(kept) != body {
			t.Errorf("%s: the file was changed", name)
		}
	}
	for name, o := range map[string]sandbox.Options{
		"another seed":      {SnapshotPath: path, Seed: 2},
		"no folder":         {SnapshotPath: filepath.Join(dir, "missing", "acme.json")},
		"a folder":          {SnapshotPath: dir},
		"contacts":          {Contacts: -2},
		"many contacts":     {Contacts: 1_000_001},
		"lifetime":          {TokenLifetime: -time.Second},
		"grace":             {ReuseGrace: -time.Second},
		"client id":         {Clients: []sandbox.Client{{Open: true}}},
		"client twice":      {Clients: []sandbox.Client{{ID: "a", Open: true}, {ID: "a", Open: true}}},
		"client for naught": {Clients: []sandbox.Client{{ID: "a"}}},
	} {
		if _, err := sandbox.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAChangeThatCanNotBeSavedIsNotAnsweredWithSuccess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "acme.json")
	a := start(t, sandbox.Options{SnapshotPath: path})
	_, refresh := a.issue(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "New"}).want(t, 500)
	a.do("POST", "/_sandbox/expire-tokens", nil).want(t, 500)
	if got := a.do("GET", request("auto", "approve"), nil).want(t, 500); got.header.Get("Location") != "" {
		t.Error("a code was handed out")
	}
	if got := a.do("POST", "/oauth/token", refreshForm(refresh)).want(t, 500); strings.Contains(string(got.body), "access_token") {
		t.Error("tokens were handed out")
	}
	if _, _, _, err := a.IssueToken(sandbox.DefaultClientID, nil); err == nil {
		t.Error("tokens were issued")
	}
	a.keyed("GET", "/v1/contacts", nil).want(t, 200)
}

func TestConcurrentUseLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.json")
	a := start(t, sandbox.Options{SnapshotPath: path, Client: (&receiver{}).client()})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.do("POST", "/_sandbox/webhooks", `{"url":"http://app.test","secret":"s"}`).want(t, 201)
	_, shared := a.issue(t)
	var mu sync.Mutex
	made, refreshed := map[string]bool{}, 0
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 5 {
				var c contact
				a.keyed("POST", "/v1/contacts", map[string]string{"last_name": fmt.Sprintf("%d-%d", i, j)}).into(t, 201, &c)
				access, refresh := a.issue(t)
				next := a.refresh(t, 200, refresh)
				if a.me(access) != 200 || a.me(next.AccessToken) != 200 {
					t.Error("a fresh token does not work")
				}
				a.keyed("GET", "/v1/contacts?updated_since=1", nil).want(t, 200)
				a.do("POST", "/_sandbox/contacts/touch", `{"count":2}`).want(t, 200)
				a.do("GET", "/_sandbox/requests", nil).want(t, 200)
				a.do("POST", "/_sandbox/settings", `{"clock_skew_s":0}`).want(t, 200)
				a.hooks(t)
				mu.Lock()
				made[c.ID] = true
				mu.Unlock()
			}
			if a.do("POST", "/oauth/token", refreshForm(shared)).status == 200 {
				mu.Lock()
				refreshed++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if refreshed != 1 {
		t.Errorf("eight callers spent one refresh token %d times", refreshed)
	}
	b := start(t, sandbox.Options{SnapshotPath: path})
	for id := range made {
		b.keyed("GET", "/v1/contacts/"+id, nil).want(t, 200)
	}
	if len(made) != 40 {
		t.Errorf("%d different contacts, want 40", len(made))
	}
	if got := b.stats(t); got.Issued != 41 || got.Refreshed != 41 || got.ReuseDetected != 1 {
		t.Errorf("stats %+v", got)
	}
}
