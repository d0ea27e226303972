package blackbox

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// callTimeout bounds one request of a test.
const callTimeout = 60 * time.Second

// Request is one call. Only Path is required, which is an absolute URL or one of the server's paths.
type Request struct {
	Method string // GET unless there is a Body, then POST
	Path   string
	Body   any
	// Header are further headers. The key of dev is sent to the server's own paths.
	Header map[string]string
}

// Call sends a request and decodes the answer into out unless that is nil. It gives the status; it fails the test when there is
// no answer, or one that is not JSON.
func (s *Server) Call(r Request, out any) int {
	s.t.Helper()
	status, body, err := s.TryCall(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			s.t.Fatalf("%s %s: status %d, answer %q: %v", r.Method, r.Path, status, body, err)
		}
	}
	return status
}

// TryCall is Call for a server that may be down.
func (s *Server) TryCall(r Request) (status int, body []byte, err error) {
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body != nil {
			r.Method = http.MethodPost
		}
	}
	var payload io.Reader
	if r.Body != nil {
		encoded, err := json.Marshal(r.Body)
		if err != nil {
			return 0, nil, err
		}
		payload = bytes.NewReader(encoded)
	}
	target, ours := r.Path, !strings.Contains(r.Path, "://")
	if ours {
		target = s.URL + r.Path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), r.Method, target, payload)
	if err != nil {
		return 0, nil, err
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if ours {
		req.Header.Set("Authorization", "Bearer "+s.Environment("dev").SecretKey)
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	res, err := (&http.Client{Timeout: callTimeout}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }() // it has been read
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// Must is Call for an answer that has to be 2xx.
func (s *Server) Must(r Request, out any) {
	s.t.Helper()
	var raw json.RawMessage
	if status := s.Call(r, &raw); status < 200 || status > 299 {
		s.t.Fatalf("%s %s: status %d: %s", r.Method, r.Path, status, raw)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			s.t.Fatalf("%s %s: %q: %v", r.Method, r.Path, raw, err)
		}
	}
}

// Eventually waits until ready is true and fails the test if that takes longer than limit. what says what was waited for.
func Eventually(t testing.TB, limit time.Duration, what string, ready func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatalf("after %s: still not %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
