package sandbox

import (
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/andybalholm/brotli"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
)

// maxBytes is the largest body of /v1/bytes/{n}.
const maxBytes = 1 << 30

// bytes streams n bytes that follow from the seed and n, in flushed chunks without a Content-Length.
func (s *Server) bytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 || n > maxBytes {
		failf(w, http.StatusBadRequest, "invalid_parameter", "Ask for 0 to %d bytes.", maxBytes)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Method == http.MethodHead {
		return
	}
	source := io.LimitReader(seededBytes(s.seed, n), n)
	flush := http.NewResponseController(w).Flush
	chunk := make([]byte, 32<<10)
	for {
		_ = flush() // before the first byte too, or net/http would count a small body
		got, err := io.ReadFull(source, chunk)
		if _, failed := w.Write(chunk[:got]); err != nil || failed != nil {
			return
		}
	}
}

// seededBytes is the endless source behind /v1/bytes/{n}.
func seededBytes(seed uint64, n int64) io.Reader {
	return rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "acme bytes %d %d", seed, n)))
}

// slow answers after ms milliseconds.
func (s *Server) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := intParam(r.URL.Query(), "ms", 1000, 0)
	if err != nil || time.Duration(ms) > maxWait/time.Millisecond {
		failf(w, http.StatusBadRequest, "invalid_parameter", "ms must lie between 0 and %d.", maxWait.Milliseconds())
		return
	}
	if wait(r, time.Duration(ms)*time.Millisecond) {
		answer(w, http.StatusOK, map[string]int{"waited_ms": ms})
	}
}

// status answers with the code of the path.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 { // 1xx are no final answers
		failf(w, http.StatusBadRequest, "invalid_parameter", "The status must lie between 200 and 599.")
		return
	}
	if !bodyAllowed(code) {
		w.WriteHeader(code)
		return
	}
	answer(w, code, map[string]any{"status": code, "text": http.StatusText(code)})
}

// bodyAllowed is false for the two final statuses that never have a body (RFC 9110 §6.4.1).
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// encoded answers a JSON document in the encoding of the path, whatever Accept-Encoding says.
func (s *Server) encoded(w http.ResponseWriter, r *http.Request) {
	encoding := r.PathValue("encoding")
	var body io.WriteCloser
	switch encoding {
	case "gzip":
		body = gzip.NewWriter(w)
	case "br":
		body = brotli.NewWriter(w)
	case "deflate": // is the zlib format (RFC 9110 §8.4.1.2)
		body = zlib.NewWriter(w)
	default:
		failf(w, http.StatusNotFound, "not_found", "The encodings are gzip, br and deflate.")
		return
	}
	data := make([]crm.Contact, 20)
	for i := range data {
		data[i] = crm.SeededContact(s.seed, i+1)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Encoding", encoding)
	w.Header().Set("Vary", "Accept-Encoding")
	// A write fails only when the client has gone.
	_ = json.NewEncoder(body).Encode(map[string]any{"encoding": encoding, "data": data})
	_ = body.Close()
}

// redirect sends the client to the address in to, /v1/me by default, with 302 or the status asked for. Other hosts are
// allowed only with Control: a reachable sandbox must not lend its name to links elsewhere.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	status, err := intParam(q, "status", http.StatusFound, 300)
	switch status {
	case 301, 302, 303, 307, 308:
	default:
		err = errors.New("status must be 301, 302, 303, 307 or 308")
	}
	to := q.Get("to")
	if to == "" {
		to = "me" // beside /v1/redirect, also under a mount point
	}
	u, errTo := url.Parse(to)
	// Browsers read \ as /, so \\host would leave too.
	if errTo != nil || !s.control && (u.Scheme != "" || u.Host != "" || u.Opaque != "" || strings.Contains(to, `\`)) {
		err = errors.New("to must be an address on this host")
	}
	if err != nil {
		badParam(w, err)
		return
	}
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}
