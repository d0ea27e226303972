package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// settings can be changed while the sandbox runs. Values are never changed in place.
type settings struct {
	grant.Policy
	// Reported is what expires_in says; 0 is the truth, negative leaves it out.
	Reported time.Duration
	// ClockSkew is added to Acme's clock.
	ClockSkew time.Duration
}

func (s *settings) reported() time.Duration {
	if s.Reported == 0 {
		return s.Lifetime
	}
	return s.Reported
}

// settingsBody is settings on the wire, in seconds. A missing field stays as it is.
type settingsBody struct {
	TokenLifetime *int64 `json:"token_lifetime_s"`
	Reported      *int64 `json:"reported_lifetime_s"`
	ReuseGrace    *int64 `json:"reuse_grace_s"`
	ClockSkew     *int64 `json:"clock_skew_s"`
	Rotate        *bool  `json:"rotate_refresh_tokens"`
}

// maxSetting bounds every duration in settings: ten years.
const maxSetting = int64(10 * 365 * 24 * time.Hour / time.Second)

func (b settingsBody) apply(to *settings) error {
	for _, f := range []struct {
		name  string
		from  *int64
		to    *time.Duration
		least int64
	}{
		{"token_lifetime_s", b.TokenLifetime, &to.Lifetime, 1}, {"reported_lifetime_s", b.Reported, &to.Reported, -1},
		{"reuse_grace_s", b.ReuseGrace, &to.ReuseGrace, 0}, {"clock_skew_s", b.ClockSkew, &to.ClockSkew, -maxSetting},
	} {
		if f.from == nil {
			continue
		}
		if *f.from < f.least || *f.from > maxSetting {
			return fmt.Errorf("%s must lie between %d and %d", f.name, f.least, maxSetting)
		}
		*f.to = time.Duration(*f.from) * time.Second
	}
	if b.Rotate != nil {
		to.Rotate = *b.Rotate
	}
	return nil
}

func (s *settings) body() settingsBody {
	seconds := func(d time.Duration) *int64 {
		n := int64(d / time.Second)
		return &n
	}
	return settingsBody{
		TokenLifetime: seconds(s.Lifetime), Reported: seconds(s.Reported),
		ReuseGrace: seconds(s.ReuseGrace), ClockSkew: seconds(s.ClockSkew), Rotate: &s.Rotate,
	}
}

// serveControl guards the control endpoints: off unless asked for, and closed to pages of other sites, because the sandbox
// of a developer listens where any page in the browser can post to.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	if !s.control {
		failf(w, http.StatusNotFound, "not_found", "The control endpoints are off.")
		return
	}
	if err := s.crossOrigin.Check(r); err != nil {
		failf(w, http.StatusForbidden, "cross_origin", "The control endpoints do not answer other sites.")
		return
	}
	s.private.ServeHTTP(w, r)
}

func (s *Server) controlRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sandbox/faults", s.showFaults)
	mux.HandleFunc("POST /_sandbox/faults", s.addFaults)
	mux.HandleFunc("DELETE /_sandbox/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_sandbox/requests", s.showRequests)
	mux.HandleFunc("DELETE /_sandbox/requests", func(w http.ResponseWriter, _ *http.Request) {
		s.requests.clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /_sandbox/contacts/touch", s.touch)
	mux.HandleFunc("POST /_sandbox/expire-tokens", s.expireTokens)
	mux.HandleFunc("GET /_sandbox/tokens/stats", s.tokenStats)
	mux.HandleFunc("GET /_sandbox/settings", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.settings.Load().body())
	})
	mux.HandleFunc("POST /_sandbox/settings", s.changeSettings)
	mux.HandleFunc("GET /_sandbox/webhooks", s.showHooks)
	mux.HandleFunc("POST /_sandbox/webhooks", s.addHook)
	mux.HandleFunc("DELETE /_sandbox/webhooks/{id}", s.removeHook)
	mux.HandleFunc("POST /_sandbox/reset", s.reset)
	return mux
}

func (s *Server) showFaults(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string][]fault{"data": s.faults.all()})
}

// addFaults appends to the script: what is posted first is tried first.
func (s *Server) addFaults(w http.ResponseWriter, r *http.Request) {
	var faults []*fault
	if err := decode(w, r, &faults); err != nil {
		badParam(w, err)
		return
	}
	if err := s.faults.add(faults); err != nil {
		badParam(w, err)
		return
	}
	answer(w, http.StatusCreated, map[string][]fault{"data": s.faults.all()})
}

func (s *Server) showRequests(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err := intParam(q, "after", 0, 0)
	if err != nil {
		badParam(w, err)
		return
	}
	found, seen := s.requests.find(uint64(after), q.Get("method"), q.Get("path"))
	answer(w, http.StatusOK, map[string]any{"data": found, "seen": seen})
}

func (s *Server) touch(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Count int `json:"count"`
	}
	if err := decode(w, r, &in); err != nil {
		badParam(w, err)
		return
	}
	if in.Count < 1 {
		badParam(w, errors.New("count must be at least 1"))
		return
	}
	var touched []crm.Contact
	var events []event
	err := s.update(func() bool {
		touched = s.contacts.Touch(in.Count, s.now())
		for _, c := range touched {
			events = append(events, s.hooks.event(eventUpdated, c, s.now()))
		}
		return len(touched) > 0
	})
	if err != nil {
		s.broken(w, r, err)
		return
	}
	s.publish(events...)
	answer(w, http.StatusOK, map[string][]crm.Contact{"data": touched})
}

func (s *Server) expireTokens(w http.ResponseWriter, r *http.Request) {
	var expired int
	err := s.update(func() bool {
		expired = s.grants.ExpireAll(s.now())
		return expired > 0
	})
	if err != nil {
		s.broken(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]int{"expired": expired})
}

func (s *Server) tokenStats(w http.ResponseWriter, _ *http.Request) {
	s.mu.RLock()
	stats := s.grants.Stats
	s.mu.RUnlock()
	answer(w, http.StatusOK, stats)
}

func (s *Server) changeSettings(w http.ResponseWriter, r *http.Request) {
	var in settingsBody
	if err := decode(w, r, &in); err != nil {
		badParam(w, err)
		return
	}
	s.mu.Lock() // two changes at once must not lose one
	set := *s.settings.Load()
	err := in.apply(&set)
	if err == nil {
		s.settings.Store(&set)
	}
	s.mu.Unlock()
	if err != nil {
		badParam(w, err)
		return
	}
	answer(w, http.StatusOK, set.body())
}

// hookView shows an endpoint without its secret.
type hookView struct {
	ID  string `json:"id"`
	URL string `json:"url"`
	hookCount
}

func (h *hook) view() hookView {
	h.mu.Lock()
	defer h.mu.Unlock()
	return hookView{ID: h.id, URL: h.url, hookCount: h.count}
}

func (s *Server) showHooks(w http.ResponseWriter, _ *http.Request) {
	views := []hookView{}
	s.mu.RLock()
	for _, h := range s.hooks.list {
		views = append(views, h.view())
	}
	s.mu.RUnlock()
	answer(w, http.StatusOK, map[string][]hookView{"data": views})
}

func (s *Server) addHook(w http.ResponseWriter, r *http.Request) {
	var in struct{ URL, Secret string }
	if err := decode(w, r, &in); err != nil {
		badParam(w, err)
		return
	}
	if err := webhookURL(in.URL); err != nil {
		badParam(w, err)
		return
	}
	if in.Secret == "" {
		badParam(w, errors.New("secret is missing"))
		return
	}
	if s.sender == nil {
		failf(w, http.StatusConflict, "webhooks_off", "This sandbox was started without a way to send webhooks.")
		return
	}
	var h *hook
	err := s.update(func() bool {
		if len(s.hooks.list) < maxHooks {
			h = s.hooks.add(in.URL, secret.New(in.Secret))
		}
		return h != nil
	})
	switch {
	case err != nil:
		s.broken(w, r, err)
	case h == nil:
		failf(w, http.StatusConflict, "webhook_limit", "There may be %d webhooks.", maxHooks)
	default:
		answer(w, http.StatusCreated, h.view())
	}
}

func (s *Server) removeHook(w http.ResponseWriter, r *http.Request) {
	var found bool
	err := s.update(func() bool {
		found = s.hooks.remove(func(h *hook) bool { return h.id == r.PathValue("id") })
		return found
	})
	switch {
	case err != nil:
		s.broken(w, r, err)
	case !found:
		failf(w, http.StatusNotFound, "not_found", "There is no such webhook.")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// reset brings back the first day: seeded contacts, no tokens, webhooks, faults, requests or settings. An optional body
// {"keep":["contacts","tokens","webhooks"]} spares what it names.
func (s *Server) reset(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Keep []string `json:"keep"`
	}
	if r.ContentLength != 0 {
		if err := decode(w, r, &in); err != nil {
			badParam(w, err)
			return
		}
	}
	for _, what := range in.Keep {
		if !slices.Contains([]string{"contacts", "tokens", "webhooks"}, what) {
			badParam(w, fmt.Errorf("keep does not know %s", strconv.Quote(what)))
			return
		}
	}
	s.faults.clear()
	s.requests.clear()
	err := s.update(func() bool {
		s.settings.Store(&s.defaults)
		if !slices.Contains(in.Keep, "contacts") {
			s.contacts = crm.NewBook(s.seed, s.count)
		}
		if !slices.Contains(in.Keep, "tokens") {
			s.grants.Reset()
		}
		if !slices.Contains(in.Keep, "webhooks") {
			s.hooks.remove(func(*hook) bool { return true })
		}
		return true
	})
	if err != nil {
		s.broken(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
