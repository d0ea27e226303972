package crash_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/test/blackbox"
)

// How often the server is killed. A round on PostgreSQL waits for a lease of 15 s, see settled.
const (
	roundsOnSQLite   = 20
	roundsOnPostgres = 5
)

// contacts is how many the third party begins with.
const contacts = 250

// The demo sync of these contacts takes five pages; slowed down like this it takes a second, and so do the kills.
const (
	pageDelay = 150 * time.Millisecond
	syncTime  = time.Second
)

// settled is how long a run may take until it is over, after a restart on a busy machine. On PostgreSQL other nodes could be
// working, so a run that was cut off goes on when its lease of 15 s is over.
const settled = 90 * time.Second

// TestASyncSurvivesKills kills the server at random moments of the demo sync. Each time the sync has to complete by itself with
// the right records, and its webhook has to arrive.
func TestASyncSurvivesKills(t *testing.T) {
	t.Parallel()
	blackbox.Databases(t, func(t *testing.T, opts blackbox.Options) {
		rounds := roundsOnSQLite
		if opts.DatabaseURL != "" {
			rounds = roundsOnPostgres
		}
		app := blackbox.NewReceiver(t)
		opts.Args = append(opts.Args, "--webhook-url", app.URL)
		s := blackbox.Start(t, opts)
		d := demo{t, s}
		blackbox.Eventually(t, settled, "synced for the first time", func() bool { return d.finished("") })
		blackbox.Eventually(t, settled, "told", func() bool { return len(app.Events("sync")) == 1 })
		created := map[string]bool{}
		for round := range rounds {
			before := d.status()
			eventsBefore := len(app.Events("sync"))
			name := fmt.Sprintf("Round%d", round)
			created[d.create(name)] = true
			d.slowDown()
			d.trigger()
			moment := time.Duration(rand.Int64N(int64(syncTime)))
			time.Sleep(moment)
			s.Kill9()
			s.Restart()
			d.normalSpeed()
			blackbox.Eventually(t, settled, fmt.Sprintf("complete after a kill at %s in round %d", moment, round), func() bool {
				return d.finished(before.FinishedAt) && d.has(name)
			})
			d.equal(created)
			blackbox.Eventually(t, settled, fmt.Sprintf("told about round %d", round), func() bool { return len(app.Events("sync")) > eventsBefore })
		}
		events := app.Events("sync")
		total := map[string]float64{}
		for _, hook := range events {
			if !hook.Signed(s.Environment("dev").WebhookSigningKey) {
				t.Errorf("a webhook is not signed with the environment's key: %s", hook.Raw)
			}
			if hook.Body["success"] != true {
				t.Errorf("a kill is no failure of the function, but the app was told so: %s", hook.Raw)
				continue
			}
			results, _ := hook.Body["responseResults"].(map[string]any)
			for name, n := range results {
				count, _ := n.(float64)
				total[name] += count
			}
		}
		// Counts may miss what was saved in the moment of a kill, but nothing is counted twice.
		if most := float64(contacts + rounds); total["added"] > most || total["updated"] > 0 || total["deleted"] > 0 {
			t.Errorf("the app was told about %v, but only %v contacts were ever added", total, most)
		}
		// At most one run per kill was cut off and reported by a later one: no round is told about twice.
		if len(events) > 2*rounds+1 {
			t.Errorf("%d sync webhooks for %d rounds", len(events), rounds)
		}
		// An event may be delivered again when the process is killed between the answer and its record, and only then.
		if repeated := app.Repeated(); len(repeated) > rounds {
			t.Errorf("events came more than once more often than the server was killed: %v", repeated)
		} else if len(repeated) > 0 {
			t.Logf("delivered again after a kill: %v", repeated)
		}
		t.Logf("%d rounds, %d sync webhooks, results in all %v", rounds, len(events), total)
	})
}

// demo is the demo's sync.
type demo struct {
	t *testing.T
	s *blackbox.Server
}

type syncStatus struct {
	Status     string         `json:"status"`
	FinishedAt string         `json:"finishedAt"`
	Count      map[string]int `json:"recordCount"`
	Latest     string         `json:"latestExecutionStatus"`
}

func (d demo) status() syncStatus {
	d.t.Helper()
	var answer struct {
		Syncs []syncStatus `json:"syncs"`
	}
	d.s.Must(blackbox.Request{Path: fmt.Sprintf("/sync/status?syncs=%s&provider_config_key=%s&connection_id=%s",
		d.s.Sandbox.Sync, d.s.Sandbox.Integration, d.s.Sandbox.Connection)}, &answer)
	if len(answer.Syncs) != 1 {
		d.t.Fatalf("the demo has %d syncs", len(answer.Syncs))
	}
	return answer.Syncs[0]
}

// finished reports whether a run ended well after the one that ended at the given time.
func (d demo) finished(before string) bool {
	d.t.Helper()
	now := d.status()
	return now.Status != "RUNNING" && now.FinishedAt != "" && now.FinishedAt != before && now.Latest == "SUCCESS"
}

func (d demo) trigger() {
	d.t.Helper()
	d.s.Must(blackbox.Request{Path: "/sync/trigger", Body: map[string]any{
		"syncs": []string{d.s.Sandbox.Sync}, "provider_config_key": d.s.Sandbox.Integration, "connection_id": d.s.Sandbox.Connection,
		"opts": map[string]bool{"reset": true}, // asks for every page again
	}}, nil)
}

func (d demo) slowDown() {
	d.t.Helper()
	d.s.Must(blackbox.Request{Path: d.s.Sandbox.URL + "/_sandbox/faults", Body: []map[string]any{
		{"match": map[string]string{"method": http.MethodGet, "path": "/v1/contacts"}, "times": -1, "delay_ms": pageDelay.Milliseconds()},
	}}, nil)
}

func (d demo) normalSpeed() {
	d.t.Helper()
	if status := d.s.Call(blackbox.Request{Method: http.MethodDelete, Path: d.s.Sandbox.URL + "/_sandbox/faults"}, nil); status > 299 {
		d.t.Fatalf("clear the faults: status %d", status)
	}
}

// create makes a contact at the third party and gives its id.
func (d demo) create(name string) string {
	d.t.Helper()
	var contact struct {
		ID string `json:"id"`
	}
	d.s.Must(blackbox.Request{
		Path: d.s.Sandbox.URL + "/v1/contacts", Body: map[string]string{"first_name": name, "last_name": "Crash", "email": name + "@example.com"},
		Header: map[string]string{"x-api-key": "acme-key"},
	}, &contact)
	return contact.ID
}

// records are the names in the cache, by id.
func (d demo) records() map[string]string {
	d.t.Helper()
	names := map[string]string{}
	for cursor := ""; ; {
		path := "/records?model=Contact&limit=1000"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		var page struct {
			Next    *string `json:"next_cursor"`
			Records []struct {
				ID       string `json:"id"`
				Name     string `json:"name"`
				Metadata struct {
					Deleted *string `json:"deleted_at"`
				} `json:"_nango_metadata"`
			} `json:"records"`
		}
		d.s.Must(blackbox.Request{Path: path, Header: map[string]string{
			"Provider-Config-Key": d.s.Sandbox.Integration, "Connection-Id": d.s.Sandbox.Connection,
		}}, &page)
		for _, r := range page.Records {
			if _, twice := names[r.ID]; twice {
				d.t.Errorf("the record %s is there twice", r.ID)
			}
			if r.Metadata.Deleted == nil {
				names[r.ID] = r.Name
			}
		}
		if page.Next == nil {
			return names
		}
		cursor = *page.Next
	}
}

func (d demo) has(firstName string) bool {
	d.t.Helper()
	for _, name := range d.records() {
		if name == firstName+" Crash" {
			return true
		}
	}
	return false
}

// equal compares the cache with the third party's own list, both ways.
func (d demo) equal(created map[string]bool) {
	d.t.Helper()
	ours, theirs := d.records(), map[string]string{}
	for cursor := ""; ; {
		path := d.s.Sandbox.URL + "/v1/contacts?limit=100"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		var page struct {
			Next *string `json:"next_cursor"`
			Data []struct {
				ID    string `json:"id"`
				First string `json:"first_name"`
				Last  string `json:"last_name"`
			} `json:"data"`
		}
		d.s.Must(blackbox.Request{Path: path, Header: map[string]string{"x-api-key": "acme-key"}}, &page)
		for _, c := range page.Data {
			theirs[c.ID] = c.First + " " + c.Last
		}
		if page.Next == nil {
			break
		}
		cursor = *page.Next
	}
	for id := range created {
		if theirs[id] == "" {
			d.t.Errorf("the third party lost the contact %s", id)
		}
	}
	for id, name := range theirs {
		if ours[id] != name {
			d.t.Errorf("the contact %s is %q in the cache and %q at the third party", id, ours[id], name)
		}
	}
	for id := range ours {
		if _, found := theirs[id]; !found {
			d.t.Errorf("the record %s is in the cache but not at the third party", id)
		}
	}
}
