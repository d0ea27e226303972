package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxFaults bounds the script.
const maxFaults = 1000

// fault is one scripted misbehaviour. Without Status the real answer is given, perhaps late, slow or cut.
type fault struct {
	// ID is given by the sandbox, from 1.
	ID    int       `json:"id"`
	Match faultRule `json:"match"`
	// Times is how often it fires; 0 is once, -1 is always.
	Times int `json:"times"`
	// Status 200 to 599 replaces the answer; 0 leaves it.
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	// Body is sent with Status: a JSON string as plain text, any other JSON as it is. Missing is an error envelope.
	Body json.RawMessage `json:"body,omitempty"`
	// DelayMS passes before anything is answered, TrickleMS while the body is sent in ten pieces.
	DelayMS   int `json:"delay_ms,omitempty"`
	TrickleMS int `json:"trickle_ms,omitempty"`
	// Close shuts the sending half of the connection without an answer.
	Close bool `json:"close,omitempty"`
	// Truncate announces the whole body, sends half of it and cuts the connection.
	Truncate bool `json:"truncate,omitempty"`

	Fired int `json:"fired"`
}

// faultRule says which requests a fault hits. Empty fields match everything.
type faultRule struct {
	Method string `json:"method,omitempty"`
	// Path is a prefix of the decoded path.
	Path string `json:"path,omitempty"`
}

func (f *fault) check() error {
	switch longest := int(maxWait / time.Millisecond); {
	case f.ID != 0 || f.Fired != 0:
		return errors.New("id and fired are read-only")
	case f.Times < -1:
		return errors.New("times must be -1 or more")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return errors.New("status must lie between 200 and 599")
	case f.DelayMS < 0 || f.TrickleMS < 0 || f.DelayMS > longest || f.TrickleMS > longest:
		return fmt.Errorf("delay_ms and trickle_ms must lie between 0 and %d", longest)
	case f.Status == 0 && len(f.Body) > 0:
		return errors.New("body needs a status")
	case f.Close && (f.Status != 0 || f.Truncate || f.TrickleMS > 0 || len(f.Headers) > 0):
		return errors.New("close sends nothing, so it goes only with delay_ms")
	case f.Truncate && (string(f.Body) == `""` || f.Status != 0 && !bodyAllowed(f.Status)):
		return errors.New("truncate needs a body")
	case f.Status == 0 && len(f.Headers) == 0 && f.DelayMS == 0 && f.TrickleMS == 0 && !f.Close && !f.Truncate:
		return errors.New("the fault does nothing")
	}
	return nil
}

// faultScript is the ordered list of faults: each request takes the first that matches and has not fired Times times.
type faultScript struct {
	mu   sync.Mutex
	last int
	list []*fault
}

// add appends the faults, all or none.
func (s *faultScript) add(faults []*fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list)+len(faults) > maxFaults {
		return fmt.Errorf("the script may have %d faults", maxFaults)
	}
	for i, f := range faults {
		if f == nil {
			return fmt.Errorf("fault %d is null", i)
		}
		if err := f.check(); err != nil {
			return fmt.Errorf("fault %d: %w", i, err)
		}
	}
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		s.last++
		f.ID = s.last
	}
	s.list = append(s.list, faults...)
	return nil
}

// take returns the fault for a request and counts it as fired.
func (s *faultScript) take(method, path string) (fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.list {
		spent := f.Times >= 0 && f.Fired >= f.Times
		if spent || f.Match.Method != "" && !strings.EqualFold(f.Match.Method, method) || !strings.HasPrefix(path, f.Match.Path) {
			continue
		}
		f.Fired++
		return *f, true
	}
	return fault{}, false
}

func (s *faultScript) all() []fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]fault, len(s.list))
	for i, f := range s.list {
		out[i] = *f
	}
	return out
}

func (s *faultScript) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
}

// play misbehaves. True means that the request goes on to its handler with the returned writer.
func (f *fault) play(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, bool) {
	if !wait(r, time.Duration(f.DelayMS)*time.Millisecond) {
		return w, false
	}
	if f.Close {
		hangUp(w)
		return w, false
	}
	if f.Truncate || f.TrickleMS > 0 {
		w = &faultWriter{ResponseWriter: w, request: r, truncate: f.Truncate, pause: time.Duration(f.TrickleMS) * time.Millisecond / tricklePieces}
	}
	for name, value := range f.Headers {
		w.Header().Set(name, value)
	}
	if f.Status == 0 {
		return w, true
	}
	kind, body := "application/json; charset=utf-8", []byte(f.Body)
	var text string
	switch {
	case len(body) == 0:
		body = fmt.Appendf(nil, `{"error":{"code":"scripted_fault","message":%q}}`, "Fault "+strconv.Itoa(f.ID)+" answered this request.")
	case json.Unmarshal(body, &text) == nil && string(body) != "null":
		kind, body = "text/plain; charset=utf-8", []byte(text)
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", kind)
	}
	if !bodyAllowed(f.Status) {
		w.WriteHeader(f.Status)
		return w, false
	}
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write(body)
	return w, false
}

// hangUp shuts the sending half of the connection and gives the client a second to notice and close its own. What can not
// be hijacked (HTTP/2) is aborted instead.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // a socket's deadline, so the machine's clock
	_, _ = io.Copy(io.Discard, conn)
}

// tricklePieces is in how many pieces a slow body is sent.
const tricklePieces = 10

// faultWriter sends a body slowly, or only the first half of it.
type faultWriter struct {
	http.ResponseWriter
	request  *http.Request
	truncate bool
	pause    time.Duration // between pieces; 0 once the first write was trickled
	measured bool
	left     int // bytes until the cut, once measured
}

// Unwrap lets http.ResponseController flush.
func (w *faultWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *faultWriter) Write(p []byte) (int, error) {
	cut := false
	if w.truncate && len(p) > 0 {
		if !w.measured {
			w.measured, w.left = true, len(p)/2
			if announced, err := strconv.Atoi(w.Header().Get("Content-Length")); err == nil {
				w.left = announced / 2
			}
		}
		if cut = len(p) > w.left; cut {
			p = p[:w.left]
		}
		w.left -= len(p)
	}
	written, err := w.send(p)
	if cut {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler) // the way net/http offers to cut a connection
	}
	return written, err
}

func (w *faultWriter) send(p []byte) (written int, err error) {
	if w.pause == 0 || len(p) == 0 {
		return w.ResponseWriter.Write(p)
	}
	pause, piece := w.pause, max(1, (len(p)+tricklePieces-1)/tricklePieces)
	w.pause = 0
	for len(p) > 0 {
		if !wait(w.request, pause) {
			return written, w.request.Context().Err()
		}
		n, err := w.ResponseWriter.Write(p[:min(piece, len(p))])
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return written, nil
}
