package refresh_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// step is one thing that happens in a script, after a pause.
type step struct {
	Pause time.Duration
	What  string // read, force, reconnect, revoke, outage, slow, silence, refuse
	Node  int
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		Pause: rapid.SampledFrom([]time.Duration{
			0, 0, 0, time.Millisecond, 50 * time.Millisecond, 9 * time.Second, 31 * time.Second, 16 * time.Minute, 50 * time.Minute, 2 * time.Hour,
		}).Draw(t, "pause"),
		What: rapid.SampledFrom([]string{
			"read", "read", "read", "read", "force", "force", "reconnect", "revoke", "outage", "slow", "silence", "refuse",
		}).Draw(t, "what"),
		Node: rapid.IntRange(0, 1).Draw(t, "node"),
	}
})

// TestNoInterleavingSpendsARefreshTokenTwice plays random scripts of callers on two nodes, outages, slow answers, revocations
// and reconnects, and checks after each what must never happen.
func TestNoInterleavingSpendsARefreshTokenTwice(t *testing.T) {
	t.Parallel()
	catalog := loadCatalog(t)
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(steps, 1, 40).Draw(rt, "script")
		life := rapid.SampledFrom([]time.Duration{time.Minute, 20 * time.Minute, time.Hour}).Draw(rt, "life")
		var wrong []string
		synctest.Test(t, func(*testing.T) {
			w := newWorld(catalog)
			w.server.life = life
			wrong = w.play(script)
		})
		if len(wrong) > 0 {
			rt.Fatalf("%s", strings.Join(wrong, "\n"))
		}
	})
}

// play runs a script and reports what went wrong.
func (w *world) play(script []step) []string {
	nodes := []*node{w.node("a"), w.node("b")}
	reconnects := 0
	var callers sync.WaitGroup
	for _, s := range script {
		time.Sleep(s.Pause)
		switch s.What {
		case "read":
			callers.Go(func() { w.caller(nodes[s.Node], false) })
		case "force":
			callers.Go(func() { w.caller(nodes[s.Node], true) })
		case "reconnect":
			reconnects++
			w.tx.Lock()
			w.reconnect()
			w.tx.Unlock()
		default:
			w.mu.Lock()
			switch s.What {
			case "revoke":
				w.server.valid = "revoked"
			case "outage":
				w.server.next = append(w.server.next, behaviour{outage: true})
			case "slow":
				w.server.next = append(w.server.next, behaviour{after: 15 * time.Second})
			case "silence":
				w.server.next = append(w.server.next, behaviour{after: time.Hour})
			case "refuse":
				w.server.next = append(w.server.next, behaviour{refused: "invalid_client"})
			}
			w.mu.Unlock()
		}
	}
	callers.Wait()
	w.judge(reconnects)

	// Whatever happened, a reconnect heals.
	w.server.next = nil
	w.reconnect()
	for _, n := range nodes {
		c, err := n.get(backgrounds(), true)
		if err != nil || c.Credentials.Text("refresh_token") != w.server.valid {
			w.violatedf("after a reconnect: %v", err)
		}
	}
	if err := nodes[0].Stop(backgrounds()); err != nil {
		w.violatedf("stop: %v", err)
	}
	return w.wrong
}

// caller asks once and checks the answer.
func (w *world) caller(n *node, force bool) {
	before, err := n.GetByID(backgrounds(), 3, 7)
	if err != nil {
		w.violatedf("read: %v", err)
		return
	}
	c, err := n.get(backgrounds(), force)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch code := errs.Code(err); {
	case err == nil && force && c.Version <= before.Version:
		w.violatedf("a forced refresh gave version %d to who had %d", c.Version, before.Version)
	case err == nil && c.Version < before.Version:
		w.violatedf("a caller went back from version %d to %d", before.Version, c.Version)
	case err == nil && !time.Now().Before(c.Credentials.Expiry()):
		w.violatedf("a caller got a token that expired %s ago", time.Since(c.Credentials.Expiry()))
	case err == nil:
	case code == "refresh_token_external_error":
	case !force && (code == "connection_refresh_backoff" || code == "connection_refresh_exhausted"):
	default:
		w.violatedf("a caller got %v (force %t)", err, force)
	}
}

// judge looks at what is left of a script.
func (w *world) judge(reconnects int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server.reused > 0 {
		w.violatedf("%d refresh tokens were spent twice", w.server.reused)
	}
	if lost := len(w.server.spent) - w.saves; lost < 0 || lost > reconnects {
		w.violatedf("%d tokens were got, %d saved, with %d reconnects", len(w.server.spent), w.saves, reconnects)
	}
	if want := int64(1 + w.saves + reconnects); w.row.Version != want {
		w.violatedf("version %d after %d saves and %d reconnects", w.row.Version, w.saves, reconnects)
	}
	if w.row.Refresh.NeedsReconnect && w.row.Credentials.Text("refresh_token") == w.server.valid {
		w.violatedf("a connection whose grant is good is dead")
	}
	failing := w.row.Refresh.Failures > 0
	if failing != (len(w.row.Errors) > 0) {
		w.violatedf("failing %t with %d marks", failing, len(w.row.Errors))
	}
	if w.row.owner != "" {
		w.violatedf("the lease is still with %s", w.row.owner)
	}
	state := "healthy"
	for _, event := range w.events {
		next := map[string]string{"reconnected": "healthy", "recovered": "healthy"}[event]
		if strings.HasPrefix(event, "failed") {
			next = "failing"
		} else if strings.HasPrefix(event, "died") {
			next = "dead"
		}
		if event != "reconnected" && (next == state || next == "failing" && state == "dead") {
			w.violatedf("told of %s when %s: %v", event, state, w.events)
		}
		state = next
	}
	if (state == "dead") != w.row.Refresh.NeedsReconnect || (state != "healthy") != failing {
		w.violatedf("the last event left it %s, the row says %s", state, fmt.Sprintf("%+v", w.row.Refresh))
	}
}
