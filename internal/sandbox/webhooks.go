package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

const (
	// maxHooks bounds the registrations, maxWaiting the events that wait for each; what comes on top is dropped and counted.
	maxHooks   = 100
	maxWaiting = 1000
	// attemptTimeout ends an attempt that gets no answer.
	attemptTimeout = 10 * time.Second
)

// retryPauses follow the first attempt and each retry but the last: three retries within seven seconds.
var retryPauses = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

const (
	eventCreated = "contact.created"
	eventUpdated = "contact.updated"
	eventDeleted = "contact.deleted"
)

// event is the body of a webhook.
type event struct {
	ID        string      `json:"id"`
	Type      string      `json:"type"`
	CreatedAt time.Time   `json:"created_at"`
	AccountID string      `json:"account_id"`
	Data      crm.Contact `json:"data"`
}

// hook is a registered endpoint. Each has its own goroutine, so a slow one does not delay the others and sees its events
// in order.
type hook struct {
	id, url string
	secret  secret.Text
	queue   chan event
	cancel  context.CancelFunc // nil before it runs

	mu    sync.Mutex
	count hookCount
}

// hookCount counts events, not attempts. Pending are those neither delivered nor given up.
type hookCount struct {
	Pending   int `json:"pending"`
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"`
	Dropped   int `json:"dropped"`
	// LastStatus is the latest answer; 0 is none, or no answer came.
	LastStatus int `json:"last_status"`
}

func (h *hook) note(change func(*hookCount)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.count)
}

// hookSet is guarded by Server.mu, except for running.
type hookSet struct {
	list           []*hook
	hooks, events  uint64 // numbers given so far
	ctx            context.Context
	cancel         context.CancelFunc
	run            func(context.Context, *hook)
	started, ended bool
	running        sync.WaitGroup
}

func newHook(id, url string, key secret.Text) *hook {
	return &hook{id: id, url: url, secret: key, queue: make(chan event, maxWaiting)}
}

func (h *hookSet) start(ctx context.Context, run func(context.Context, *hook)) error {
	if h.started || h.ended {
		return errors.New("sandbox: can be started once only")
	}
	h.started, h.run = true, run
	h.ctx, h.cancel = context.WithCancel(ctx)
	for _, one := range h.list {
		h.launch(one)
	}
	return nil
}

func (h *hookSet) launch(one *hook) {
	if !h.started || h.ended {
		return
	}
	ctx, cancel := context.WithCancel(h.ctx)
	one.cancel = cancel
	h.running.Go(func() { h.run(ctx, one) })
}

func (h *hookSet) close() {
	h.ended = true
	if h.cancel != nil {
		h.cancel()
	}
}

// add registers an endpoint.
func (h *hookSet) add(url string, key secret.Text) *hook {
	h.hooks++
	one := newHook("wh_"+strconv.FormatUint(h.hooks, 10), url, key)
	h.list = append(h.list, one)
	h.launch(one)
	return one
}

// remove ends the endpoints that match, and the delivery they are in, and reports whether there were any.
func (h *hookSet) remove(match func(*hook) bool) bool {
	before := len(h.list)
	h.list = slices.DeleteFunc(h.list, func(one *hook) bool {
		if !match(one) {
			return false
		}
		if one.cancel != nil {
			one.cancel()
		}
		return true
	})
	return len(h.list) < before
}

// event numbers an event about c.
func (h *hookSet) event(kind string, c crm.Contact, now time.Time) event {
	h.events++
	return event{ID: fmt.Sprintf("evt_%06d", h.events), Type: kind, CreatedAt: now, AccountID: accountID, Data: c}
}

// publish queues events for every endpoint. It never waits.
func (s *Server) publish(events ...event) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.sender == nil || s.hooks.ended {
		return
	}
	for _, h := range s.hooks.list {
		for _, e := range events {
			h.note(func(c *hookCount) { c.Pending++ })
			select {
			case h.queue <- e:
			default:
				h.note(func(c *hookCount) { c.Pending--; c.Dropped++ })
			}
		}
	}
}

// deliverAll delivers the events of one endpoint until ctx ends.
func (s *Server) deliverAll(ctx context.Context, h *hook) {
	if s.sender == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-h.queue:
			err := s.deliver(ctx, h, e)
			h.note(func(c *hookCount) {
				c.Pending--
				if err == nil {
					c.Delivered++
				} else {
					c.Failed++
				}
			})
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "sandbox webhook not delivered", "webhook", h.id, "event", e.ID, "err", err)
			}
		}
	}
}

// deliver tries until the endpoint answers 2xx or the pauses are used up.
func (s *Server) deliver(ctx context.Context, h *hook, e event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	for _, pause := range retryPauses {
		if err = s.attempt(ctx, h, e, body); err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return s.attempt(ctx, h, e, body)
}

func (s *Server) attempt(ctx context.Context, h *hook, e event, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Acme-CRM/1")
	req.Header.Set("X-Acme-Event", e.Type)
	req.Header.Set("X-Acme-Event-Id", e.ID)
	req.Header.Set("X-Acme-Signature", sign(h.secret, s.now(), body))
	status := 0
	res, err := s.sender.Do(req)
	if err == nil {
		status = res.StatusCode
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxForm)) // so that the connection can be used again
		_ = res.Body.Close()
		if status < 200 || status > 299 {
			err = fmt.Errorf("endpoint answered %d", status)
		}
	}
	h.note(func(c *hookCount) { c.LastStatus = status })
	return err
}

// sign is the value of X-Acme-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">.
func sign(key secret.Text, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// webhookURL reports what is wrong with the address of an endpoint.
func webhookURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return errors.New("url must be an http or https address without user info")
	}
	return nil
}
