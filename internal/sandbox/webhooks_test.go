package sandbox_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

// receiver stands for every endpoint on the network.
type receiver struct {
	mu     sync.Mutex
	got    []delivery
	answer func(host string, attempt int) (status int, err error) // nil is 200
	slow   map[string]time.Duration
}

type delivery struct {
	host, id, kind, signature string
	body                      []byte
	at                        time.Time
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(r.slow[req.URL.Host]):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, delivery{req.URL.Host, req.Header.Get("X-Acme-Event-Id"), req.Header.Get("X-Acme-Event"), req.Header.Get("X-Acme-Signature"), body, time.Now()})
	status := 200
	if r.answer != nil {
		if status, err = r.answer(req.URL.Host, len(r.got)); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"http://elsewhere.test/"}}, Body: io.NopCloser(strings.NewReader("ok")), Request: req}, nil
}

// client sends to the receiver. As the real one does, it leaves redirects to whoever asked.
func (r *receiver) client() *http.Client {
	return &http.Client{Transport: r, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// all waits until nothing moves and returns what arrived.
func (r *receiver) all() []delivery {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.got...)
}

func hooked(t *testing.T, r *receiver, hosts ...string) acme {
	t.Helper()
	a := start(t, sandbox.Options{Client: r.client(), Now: time.Now})
	if err := a.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		a.do("POST", "/_sandbox/webhooks", map[string]string{"url": "https://" + host + "/hook", "secret": "whsec"}).want(t, 201)
	}
	return a
}

type hookState struct {
	ID, URL                             string
	Pending, Delivered, Failed, Dropped int
	LastStatus                          int `json:"last_status"`
}

func (a acme) hooks(t testing.TB) []hookState {
	t.Helper()
	var got struct{ Data []hookState }
	a.do("GET", "/_sandbox/webhooks", nil).into(t, 200, &got)
	return got.Data
}

func TestChangesOfContactsAreSentSigned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		a := hooked(t, r, "app.test")
		var made contact
		a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "New"}).into(t, 201, &made)
		a.keyed("PATCH", "/v1/contacts/"+made.ID, map[string]string{"phone": "1"}).want(t, 200)
		a.keyed("DELETE", "/v1/contacts/"+made.ID, nil).want(t, 204)
		a.do("POST", "/_sandbox/contacts/touch", `{"count":2}`).want(t, 200)
		a.keyed("DELETE", "/v1/contacts/"+made.ID, nil).want(t, 404)
		a.keyed("PATCH", "/v1/contacts/con_000001", map[string]string{"email": "bad"}).want(t, 422)

		got := r.all()
		var kinds []string
		ids := map[string]bool{}
		for _, d := range got {
			kinds = append(kinds, d.kind)
			var event struct {
				ID, Type string
				Account  string `json:"account_id"`
				Data     contact
			}
			if err := json.Unmarshal(d.body, &event); err != nil {
				t.Fatal(err)
			}
			if event.ID != d.id || event.Type != d.kind || event.Account == "" || event.Data.ID == "" || event.Data.Deleted != (d.kind == "contact.deleted") {
				t.Errorf("event %s", d.body)
			}
			ids[d.id] = true
			stamp := fmt.Sprint(d.at.Unix())
			mac := hmac.New(sha256.New, []byte("whsec"))
			mac.Write([]byte(stamp + "." + string(d.body)))
			if want := "t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil)); d.signature != want {
				t.Errorf("signature %s, want %s", d.signature, want)
			}
		}
		want := []string{"contact.created", "contact.updated", "contact.deleted", "contact.updated", "contact.updated"}
		if diff := cmp.Diff(want, kinds); diff != "" || len(ids) != len(want) {
			t.Errorf("%d ids, events:\n%s", len(ids), diff)
		}
		if diff := cmp.Diff([]hookState{{ID: "wh_1", URL: "https://app.test/hook", Delivered: 5, LastStatus: 200}}, a.hooks(t)); diff != "" {
			t.Errorf("state:\n%s", diff)
		}
		a.do("DELETE", "/_sandbox/webhooks/wh_1", nil).want(t, 204)
		a.do("DELETE", "/_sandbox/webhooks/wh_1", nil).want(t, 404)
		a.do("POST", "/_sandbox/contacts/touch", `{"count":2}`).want(t, 200)
		if len(r.all()) != 5 {
			t.Error("a removed webhook was called")
		}
	})
}

func TestAFailedDeliveryIsRetriedThreeTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ string, attempt int) (int, error) {
			switch attempt {
			case 1:
				return 0, errors.New("connection refused")
			case 2:
				return 302, nil // a redirect is no success and is not followed
			case 3:
				return 500, nil
			case 4:
				return 204, nil
			}
			return 410, nil
		}}
		a := hooked(t, r, "app.test")
		begin := time.Now()
		a.do("POST", "/_sandbox/contacts/touch", `{"count":2}`).want(t, 200)
		time.Sleep(time.Minute)
		var at []time.Duration
		got := r.all()
		signatures := map[string]bool{}
		for i, d := range got {
			at = append(at, d.at.Sub(begin))
			signatures[d.signature] = true
			if first := got[i/4*4]; d.id != first.id || string(d.body) != string(first.body) {
				t.Errorf("attempt %d differs from the first of its event", i)
			}
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 7 * time.Second, 8 * time.Second, 10 * time.Second, 14 * time.Second}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("attempts:\n%s", diff)
		}
		if len(signatures) != len(want) {
			t.Errorf("%d signatures for %d attempts, want a fresh one each", len(signatures), len(want))
		}
		if diff := cmp.Diff([]hookState{{ID: "wh_1", URL: "https://app.test/hook", Delivered: 1, Failed: 1, LastStatus: 410}}, a.hooks(t)); diff != "" {
			t.Errorf("state:\n%s", diff)
		}
	})
}

func TestASlowEndpointDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{slow: map[string]time.Duration{"slow.test": 9 * time.Second, "dead.test": time.Hour}}
		a := hooked(t, r, "dead.test", "slow.test", "fast.test")
		begin := time.Now()
		a.do("POST", "/_sandbox/contacts/touch", `{"count":3}`).want(t, 200)
		for _, d := range r.all() {
			if d.host != "fast.test" || d.at != begin {
				t.Errorf("%s got its event after %s", d.host, d.at.Sub(begin))
			}
		}
		time.Sleep(10 * time.Minute)
		count := map[string]int{}
		for _, d := range r.all() {
			count[d.host]++
		}
		if diff := cmp.Diff(map[string]int{"fast.test": 3, "slow.test": 3}, count); diff != "" {
			t.Errorf("arrived:\n%s", diff)
		}
		if state := a.hooks(t)[0]; state.Failed != 3 || state.Pending != 0 {
			t.Errorf("the endpoint that never answers: %+v", state)
		}
	})
}

func TestEventsWaitForStartAndEndWithClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{slow: map[string]time.Duration{"slow.test": 5 * time.Second}}
		a := start(t, sandbox.Options{Client: r.client(), Now: time.Now, Contacts: 2000})
		for _, host := range []string{"app.test", "slow.test"} {
			a.do("POST", "/_sandbox/webhooks", map[string]string{"url": "http://" + host, "secret": "s"}).want(t, 201)
		}
		a.do("POST", "/_sandbox/contacts/touch", `{"count":1100}`).want(t, 200)
		if got := len(r.all()); got != 0 {
			t.Errorf("%d deliveries before Start", got)
		}
		if state := a.hooks(t)[0]; state.Pending != 1000 || state.Dropped != 100 {
			t.Errorf("waiting: %+v", state)
		}
		if err := a.Start(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err == nil {
			t.Error("started twice")
		}
		if got := len(r.all()); got != 1000 {
			t.Errorf("%d deliveries after Start", got)
		}
		begin := time.Now()
		for range 2 {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("Close waited %s for an endpoint", took)
		}
		a.do("POST", "/_sandbox/contacts/touch", `{"count":1}`).want(t, 200)
		time.Sleep(time.Minute)
		if got := len(r.all()); got != 1000 {
			t.Errorf("%d deliveries after Close", got)
		}
	})
}

func TestWebhooksNeedAClientAndAGoodAddress(t *testing.T) {
	t.Parallel()
	without := start(t, sandbox.Options{})
	if got := without.do("POST", "/_sandbox/webhooks", `{"url":"https://a.example","secret":"s"}`).want(t, 409).code(t); got != "webhooks_off" {
		t.Errorf("without a client: %s", got)
	}
	a := start(t, sandbox.Options{Client: http.DefaultClient})
	for _, bad := range []string{
		`{}`, `{"url":"https://a.example"}`, `{"url":"ftp://a.example","secret":"s"}`, `{"url":"/x","secret":"s"}`, `{"url":"https://u:p@a.example","secret":"s"}`,
		`{"url":"https://","secret":"s"}`, `{"url":"https://a.example","secret":"s","x":1}`,
	} {
		a.do("POST", "/_sandbox/webhooks", bad).want(t, 400)
	}
	for range 100 {
		got := a.do("POST", "/_sandbox/webhooks", `{"url":"https://a.example","secret":"hidden"}`).want(t, 201)
		if strings.Contains(string(got.body), "hidden") {
			t.Fatal("the answer shows the secret")
		}
	}
	a.do("POST", "/_sandbox/webhooks", `{"url":"https://a.example","secret":"s"}`).want(t, 409)
}
