package blackbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// Webhook is one delivery that a Receiver got.
type Webhook struct {
	EventID    string
	DeliveryID string
	Attempt    string
	// Signature is the HMAC header, Legacy the older one.
	Signature, Legacy string
	Raw               []byte
	Body              map[string]any
	At                time.Time
}

// Receiver is an app that takes webhooks.
type Receiver struct {
	URL string

	mu  sync.Mutex
	got []Webhook
	// answer is asked for the status of each delivery; nil is always 200.
	answer func(Webhook) int
}

// NewReceiver starts a receiver that accepts everything; it is closed when the test ends.
func NewReceiver(t testing.TB) *Receiver {
	r := &Receiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Answer sets what decides on the status of each delivery. It may block.
func (r *Receiver) Answer(answer func(Webhook) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// ServeHTTP takes a webhook.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed
	}
	hook := Webhook{
		EventID: req.Header.Get("Patchbay-Event-Id"), DeliveryID: req.Header.Get("Patchbay-Delivery-Id"), Attempt: req.Header.Get("Patchbay-Attempt"),
		Signature: req.Header.Get("X-Nango-Hmac-Sha256"), Legacy: req.Header.Get("X-Nango-Signature"), Raw: raw, At: time.Now(),
	}
	_ = json.Unmarshal(raw, &hook.Body) // a body that is not JSON has no type and is found by no filter
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusOK
	if answer != nil {
		status = answer(hook)
	}
	r.mu.Lock()
	r.got = append(r.got, hook)
	r.mu.Unlock()
	w.WriteHeader(status)
}

// All are the deliveries so far, repetitions included.
func (r *Receiver) All() []Webhook {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Events are the deliveries of a type (sync, auth) without repetitions of an event.
func (r *Receiver) Events(kind string) []Webhook {
	var events []Webhook
	for _, hook := range r.All() {
		known := slices.ContainsFunc(events, func(e Webhook) bool { return e.EventID == hook.EventID })
		if hook.Body["type"] == kind && !known {
			events = append(events, hook)
		}
	}
	return events
}

// Repeated are the event ids that arrived more than once, each with how often.
func (r *Receiver) Repeated() map[string]int {
	count := map[string]int{}
	for _, hook := range r.All() {
		count[hook.EventID]++
	}
	for id, n := range count {
		if n == 1 {
			delete(count, id)
		}
	}
	return count
}

// Signed reports whether a webhook carries the right HMAC for the signing key.
func (h Webhook) Signed(key string) bool {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(h.Raw)
	return hmac.Equal([]byte(h.Signature), []byte(hex.EncodeToString(mac.Sum(nil))))
}
