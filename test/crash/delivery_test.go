package crash_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/test/blackbox"
)

// inFlight is how many webhooks the app holds when the server is killed.
const inFlight = 3

// TestDeliveriesInFlightSurvive kills the server while the app has a webhook in its hands and has not answered. After a restart
// every event arrives, and none is tried more often than its plan of three attempts allows.
func TestDeliveriesInFlightSurvive(t *testing.T) {
	t.Parallel()
	blackbox.Databases(t, func(t *testing.T, opts blackbox.Options) {
		app := blackbox.NewReceiver(t)
		arrived, release := make(chan any, 100), make(chan struct{})
		app.Answer(func(hook blackbox.Webhook) int {
			if hook.Body["connectionId"] == "demo-user" {
				return http.StatusOK // the demo tells about itself
			}
			arrived <- hook.Body["connectionId"]
			<-release
			return http.StatusOK
		})
		opts.Args = append(opts.Args, "--webhook-url", app.URL)
		s := blackbox.Start(t, opts)
		want := map[string]bool{}
		for i := range inFlight {
			id := fmt.Sprintf("in-flight-%d", i)
			want[id] = true
			s.Must(blackbox.Request{Path: "/connections", Body: map[string]any{
				"provider_config_key": s.Sandbox.Integration, "connection_id": id, "connection_config": map[string]string{"baseUrl": s.Sandbox.URL},
				"credentials": map[string]string{"type": "OAUTH2", "access_token": "made-up-" + id},
			}}, nil)
		}
		for held := map[any]bool{}; len(held) < len(want); {
			select {
			case id := <-arrived:
				held[id] = true
			case <-time.After(settled):
				t.Fatalf("of %d webhooks only %v were sent", len(want), held)
			}
		}
		s.Kill9()
		app.Answer(nil)
		close(release)
		s.Restart()
		// What the killed process had sent is answered into the void, so the new one has to send it again.
		accepted := func() map[string]int {
			attempts := map[string]int{}
			for _, hook := range app.Events("auth") {
				id, _ := hook.Body["connectionId"].(string)
				attempts[id]++
			}
			return attempts
		}
		blackbox.Eventually(t, settled, "sent again", func() bool {
			for id := range want {
				second := false
				for _, hook := range app.All() {
					second = second || hook.Body["connectionId"] == id && hook.Attempt != "1"
				}
				if !second {
					return false
				}
			}
			return true
		})
		for id, events := range accepted() {
			if want[id] && events != 1 {
				t.Errorf("the connection %s was told in %d events instead of one", id, events)
			}
		}
		for id, times := range app.Repeated() {
			if times > 3 {
				t.Errorf("event %s was sent %d times", id, times)
			}
		}
	})
}

// TestWhatWasAnsweredIsKept kills the server right after answers, without a moment to write anything more.
func TestWhatWasAnsweredIsKept(t *testing.T) {
	t.Parallel()
	blackbox.Databases(t, func(t *testing.T, opts blackbox.Options) {
		s := blackbox.Start(t, opts)
		for round := range 5 {
			id := fmt.Sprintf("kept-%d", round)
			s.Must(blackbox.Request{Path: "/connections", Body: map[string]any{
				"provider_config_key": s.Sandbox.Integration, "connection_id": id, "connection_config": map[string]string{"baseUrl": s.Sandbox.URL},
				"credentials": map[string]string{"type": "OAUTH2", "access_token": "made-up-" + id},
			}}, nil)
			s.Must(blackbox.Request{Path: "/connections/metadata", Body: map[string]any{
				"connection_id": id, "provider_config_key": s.Sandbox.Integration, "metadata": map[string]int{"round": round},
			}}, nil)
			s.Kill9()
			s.Restart()
			for earlier := range round + 1 {
				var c struct {
					Metadata map[string]int `json:"metadata"`
				}
				s.Must(blackbox.Request{Path: fmt.Sprintf("/connections/kept-%d?provider_config_key=%s", earlier, s.Sandbox.Integration)}, &c)
				if c.Metadata["round"] != earlier {
					t.Errorf("after the kill of round %d the metadata of round %d is %v", round, earlier, c.Metadata)
				}
			}
		}
	})
}
