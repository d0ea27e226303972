package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

// script answers with each step in turn, and 200 afterwards. A step is "status", or "status name: value".
func script(s *seen, steps ...string) http.HandlerFunc {
	var next atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		i := int(next.Add(1)) - 1
		if i >= len(steps) {
			_, _ = io.WriteString(w, "ok")
			return
		}
		status, rest, _ := strings.Cut(steps[i], " ")
		if name, value, ok := strings.Cut(rest, ": "); ok && name != "body" {
			w.Header().Set(name, value)
		}
		code, _ := strconv.Atoi(status)
		w.WriteHeader(code)
		if body, ok := strings.CutPrefix(rest, "body: "); ok {
			_, _ = io.WriteString(w, body)
		}
	}
}

func TestWhenAnAnswerIsRetriedAndHowLongThatWaits(t *testing.T) {
	t.Parallel()
	const s = time.Second
	epoch := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	at := plainRules + "  retry: {at: [x-reset, x-other]}\n"
	cases := []struct {
		name    string
		rules   string
		steps   []string
		retries int
		on      []int
		maxWait time.Duration
		want    int // the status
		waits   []time.Duration
	}{
		{"nobody asked", plainRules, []string{"503"}, 0, nil, 0, 503, nil},
		{"once is enough", plainRules, []string{"503"}, 3, nil, 0, 200, []time.Duration{3 * s}},
		{"the last answer is handed over", plainRules, []string{"503", "502", "500"}, 2, nil, 0, 500, []time.Duration{3 * s, 6 * s}},
		{"a minute in all for the API", plainRules, []string{"500", "500", "500", "500", "500"}, 9, nil, 0, 500, []time.Duration{3 * s, 6 * s, 12 * s, 24 * s}},
		{"ten at most, ten minutes each", plainRules, strings.Fields(strings.Repeat("500 ", 20)), 99, nil, 10 * time.Hour, 500,
			[]time.Duration{3 * s, 6 * s, 12 * s, 24 * s, 48 * s, 96 * s, 192 * s, 384 * s, 600 * s, 600 * s}},
		{"not a client's fault", plainRules, []string{"404"}, 3, nil, 0, 404, nil},
		{"unless asked", plainRules, []string{"404", "409"}, 3, []int{404, 409}, 0, 200, []time.Duration{3 * s, 6 * s}},
		{"never a success", plainRules, []string{"202"}, 3, []int{202}, 0, 202, nil},
		{"401 with credentials that stay the same", plainRules, []string{"401"}, 3, nil, 0, 401, nil},
		{"retry-after in seconds", plainRules, []string{"429 Retry-After: 7"}, 1, nil, 0, 200, []time.Duration{7 * s}},
		{"retry-after zero", plainRules, []string{"429 Retry-After: 0"}, 1, nil, 0, 200, nil},
		{"retry-after as a date", plainRules, []string{"503 Retry-After: " + now.Add(9*s).Format(http.TimeFormat)}, 1, nil, 0, 200, []time.Duration{9 * s}},
		{"retry-after in the past", plainRules, []string{"503 Retry-After: " + now.Add(-9*s).Format(http.TimeFormat)}, 1, nil, 0, 200, []time.Duration{3 * s}},
		{"retry-after that is nonsense", plainRules, []string{"503 Retry-After: soon"}, 1, nil, 0, 200, []time.Duration{3 * s}},
		{"retry-after beyond the limit", plainRules, []string{"429 Retry-After: 61"}, 5, nil, 0, 429, nil},
		{"which functions may wait for", plainRules, []string{"429 Retry-After: 61"}, 5, nil, time.Hour, 200, []time.Duration{61 * s}},
		{"a common reset on a 429", plainRules, []string{"429 X-RateLimit-Reset: " + epoch(20*s)}, 1, nil, 0, 200, []time.Duration{20 * s}},
		{"a reset that is none of a 500's business", plainRules, []string{"500 X-RateLimit-Reset: " + epoch(20*s)}, 1, nil, 0, 200, []time.Duration{3 * s}},
		{"at in epoch seconds", at, []string{"429 X-Reset: " + epoch(11*s)}, 1, nil, 0, 200, []time.Duration{11 * s}},
		{"at in epoch milliseconds", at, []string{"429 X-Reset: " + epoch(11*s) + "500"}, 1, nil, 0, 200, []time.Duration{11*s + s/2}},
		{"at in seconds from now", at, []string{"429 X-Other: 12"}, 1, nil, 0, 200, []time.Duration{12 * s}},
		{"at as a date", at, []string{"429 X-Reset: " + now.Add(13*s).Format(time.RFC3339)}, 1, nil, 0, 200, []time.Duration{13 * s}},
		{"at in the past", at, []string{"429 X-Reset: " + epoch(-11*s)}, 1, nil, 0, 200, []time.Duration{3 * s}},
		{"after", plainRules + "  retry: {after: [x-wait]}\n", []string{"429 X-Wait: 1.5"}, 1, nil, 0, 200, []time.Duration{3 * s / 2}},
		{"the provider's list replaces the usual", plainRules + "  retry: {error_code: ['403', 500-502]}\n", []string{"403", "501", "503"}, 5, nil, 0, 503, []time.Duration{3 * s, 6 * s}},
		{"no calls left", plainRules + "  retry: {remaining: x-left}\n", []string{"403 X-Left: 0", "403 X-Left: 1"}, 5, nil, 0, 403, []time.Duration{3 * s}},
		{"told in the body", plainRules + "  retry: {in_body: {path: error.message, value: 'retry in ([0-9]+)s', strategy: after}}\n",
			[]string{`429 body: {"error":{"message":"please retry in 14s"}}`, `429 body: {"error":"no"}`}, 2, nil, 0, 200, []time.Duration{14 * s, 6 * s}},
	}
	for _, c := range cases {
		var got seen
		w := newWorld(t, provider.None, c.rules, nil, script(&got, c.steps...))
		call := withBody(w.call("POST", "/"), "again")
		call.Retries, call.RetryOn, call.MaxWait, call.ContentType = c.retries, c.on, c.maxWait, "text/plain"
		res := w.do(call)
		if res.Status != c.want {
			t.Errorf("%s: status %d, want %d", c.name, res.Status, c.want)
		}
		if diff := cmp.Diff(c.waits, w.waits()); diff != "" {
			t.Errorf("%s: waits (-want +got)\n%s", c.name, diff)
		}
		for _, g := range got.all() {
			if g.body != "again" {
				t.Errorf("%s: an attempt carried %q", c.name, g.body)
			}
		}
	}
}

func TestTheBodyOfAnAnswerIsWholeAfterAHintWasLookedFor(t *testing.T) {
	t.Parallel()
	var got seen
	const body = `{"error":{"message":"retry in 99999s"}}`
	w := newWorld(t, provider.None, plainRules+"  retry: {in_body: {path: error.message, value: 'retry in ([0-9]+)s', strategy: after}}\n", nil, script(&got, "429 body: "+body))
	call := w.call("GET", "/")
	call.Retries = 1
	if res := w.do(call); res.body != body || res.Status != 429 {
		t.Errorf("got %d %s", res.Status, res.body)
	}
}

func TestABodyThatIsTooLongToKeepIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	var got seen
	w := newWorld(t, provider.None, plainRules, nil, script(&got, "503", "503"))
	call := w.call("POST", "/")
	call.Body, call.ContentLength, call.ContentType, call.Retries = io.LimitReader(zeros{}, 5<<20), -1, "text/plain", 5
	if res := w.do(call); res.Status != 503 || len(got.all()) != 1 {
		t.Errorf("status %d after %d attempts", res.Status, len(got.all()))
	}

	call.Body, call.GetBody = nil, func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, 5<<20)), nil }
	call.Body = io.LimitReader(zeros{}, 5<<20)
	if res := w.do(call); res.Status != 200 || len(got.all()) != 3 || len(got.last().body) != 5<<20 {
		t.Errorf("with a body that opens again: status %d after %d attempts", res.Status, len(got.all())-1)
	}
}

func TestA401RefreshesOnceAndSendsOnceMore(t *testing.T) {
	t.Parallel()
	open := func(steps ...string) (*world, *seen) {
		got := new(seen)
		w := newWorld(t, provider.OAuth2, plainRules, map[string]any{"access_token": "old-token"}, script(got, steps...))
		w.refresh = func(c *connection.Connection) (*connection.Connection, error) { return renewed(t, c, "new-token"), nil }
		return w, got
	}

	w, got := open("401")
	call := withBody(w.call("POST", "/"), "x")
	call.ContentType = "text/plain"
	res := w.do(call)
	if res.Status != 200 || !res.Unauthorized || w.forced != 1 || len(got.all()) != 2 || got.last().header.Get("Authorization") != "Bearer new-token" || got.last().body != "x" {
		t.Errorf("status %d, %d refreshes, %d attempts, last with %q", res.Status, w.forced, len(got.all()), got.last().header.Get("Authorization"))
	}
	if strings.Contains(w.log.text.String(), "new-token") || strings.Contains(w.log.text.String(), "old-token") {
		t.Error("a token is in the log")
	}

	w, got = open("401", "401", "401")
	if res := w.do(w.call("GET", "/")); res.Status != 401 || w.forced != 1 || len(got.all()) != 2 {
		t.Errorf("a second 401 is not final: status %d, %d refreshes, %d attempts", res.Status, w.forced, len(got.all()))
	}
	if res := w.do(w.call("GET", "/")); res.Status != 401 || w.forced != 1 {
		t.Errorf("another call a moment later: status %d, %d refreshes", res.Status, w.forced)
	}

	w, got = open("401")
	if res := w.do(withHeader(w.call("GET", "/"), "Authorization", "Bearer mine")); res.Status != 401 || w.forced != 0 || len(got.all()) != 1 {
		t.Errorf("the caller's own authorization was refused, and ours refreshed: status %d", res.Status)
	}

	w, got = open("401 body: expired")
	w.refresh = func(*connection.Connection) (*connection.Connection, error) {
		return nil, errs.New(424, "x", "reconnect")
	}
	if res := w.do(w.call("GET", "/")); res.Status != 401 || res.body != "expired" || len(got.all()) != 1 {
		t.Errorf("a refresh that fails hides the answer: %d %s", res.Status, res.body)
	}

	w, got = open("401")
	w.refresh = nil
	call = w.call("GET", "/")
	call.Retries = 5
	if res := w.do(call); res.Status != 401 || len(got.all()) != 1 {
		t.Errorf("sent again with the same credentials: %d attempts", len(got.all()))
	}
}

func TestAWaitEndsWithTheCallersContext(t *testing.T) {
	t.Parallel()
	var got seen
	w := newWorld(t, provider.None, plainRules, nil, script(&got, "503", "503"))
	ctx, cancel := context.WithCancel(t.Context())
	w.options.Sleep = func(ctx context.Context, _ time.Duration) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	w.open()
	call := w.call("GET", "/")
	call.Retries = 3
	if _, err := w.service.Do(ctx, call); !errors.Is(err, context.Canceled) || len(got.all()) != 1 {
		t.Errorf("got %v after %d attempts", err, len(got.all()))
	}
	if r, _ := w.log.operation(); r.State != "cancelled" {
		t.Errorf("the operation is %s", r.State)
	}
}

func TestNoWaitOutlivesTheCallersDeadline(t *testing.T) {
	t.Parallel()
	var got seen
	w := newWorld(t, provider.None, plainRules, nil, script(&got, "503"))
	w.options.Now = nil
	w.open()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	call := w.call("GET", "/")
	call.Retries = 1
	res, err := w.service.Do(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Status != 503 || len(w.waits()) != 0 {
		t.Errorf("status %d after waits of %v", res.Status, w.waits())
	}
}
