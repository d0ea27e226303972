package sandbox

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxRequests is how many requests are remembered; the oldest goes first.
	maxRequests = 1000
	// maxKept is how much of each body is remembered.
	maxKept = 32 << 10
)

// received is a request that reached Acme, with its credentials: assertions need them, and they are all made up.
type received struct {
	// Seq counts from 1 and does not repeat after the list was cleared.
	Seq     uint64      `json:"seq"`
	Time    time.Time   `json:"time"`
	Method  string      `json:"method"`
	Path    string      `json:"path"` // as it came, still escaped
	Query   string      `json:"query"`
	Host    string      `json:"host"`
	Headers http.Header `json:"headers"`
	// Body is text; a body that is not UTF-8 is in BodyBase64 instead. Both end after 32 KiB.
	Body          string `json:"body"`
	BodyBase64    string `json:"body_base64,omitempty"`
	BodyTruncated bool   `json:"body_truncated,omitempty"`
	// Fault is the id of the fault that hit it; 0 is none.
	Fault int `json:"fault,omitempty"`
}

type requestLog struct {
	mu   sync.Mutex
	seq  uint64
	list []*received
}

// add remembers r before it is handled, so that a client that has its answer finds its request. It reads the beginning of
// the body and puts it back.
func (l *requestLog) add(r *http.Request, now time.Time) *received {
	e := &received{
		Time: now, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Headers: r.Header.Clone(),
	}
	if r.Body != nil {
		head, err := io.ReadAll(io.LimitReader(r.Body, maxKept+1))
		rest := io.Reader(r.Body)
		if err != nil {
			rest = brokenReader{err}
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), rest), r.Body}
		if e.BodyTruncated = len(head) > maxKept; e.BodyTruncated {
			head = head[:maxKept]
		}
		if utf8.Valid(head) {
			e.Body = string(head)
		} else {
			e.BodyBase64 = base64.StdEncoding.EncodeToString(head)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	if len(l.list) == maxRequests {
		copy(l.list, l.list[1:])
		l.list = l.list[:maxRequests-1]
	}
	l.list = append(l.list, e)
	return e
}

// brokenReader repeats the error that ended a body early.
type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// blame notes which fault hit the request.
func (l *requestLog) blame(e *received, fault int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Fault = fault
}

// find lists, oldest first, what came after seq and matches; "" matches everything.
func (l *requestLog) find(after uint64, method, pathPrefix string) (found []received, seen uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found = []received{}
	for _, e := range l.list {
		if e.Seq > after && (method == "" || strings.EqualFold(method, e.Method)) && strings.HasPrefix(e.Path, pathPrefix) {
			found = append(found, *e)
		}
	}
	return found, l.seq
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}
