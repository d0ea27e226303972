package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxJSON bounds a JSON body that Acme decodes.
const maxJSON = 1 << 20

// maxWait bounds every scripted delay, so that a typing error can not hold a connection for a day.
const maxWait = 10 * time.Minute

// problem is Acme's error envelope: {"error":{"code","message","fields"?}}.
type problem struct {
	Code    string            `json:"code"`
	Message string            `json:"message"`
	Fields  map[string]string `json:"fields,omitempty"`
}

// failf answers with Acme's error envelope.
func failf(w http.ResponseWriter, status int, code, format string, args ...any) {
	answer(w, status, map[string]problem{"error": {Code: code, Message: fmt.Sprintf(format, args...)}})
}

// broken answers for a fault of the sandbox itself, such as a full disk.
func (s *Server) broken(w http.ResponseWriter, r *http.Request, err error) {
	s.log.ErrorContext(r.Context(), "sandbox request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	failf(w, http.StatusInternalServerError, "internal", "Acme CRM could not keep this change.")
}

// answer writes v as JSON with its Content-Length.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // only values of this package arrive here, and all of them marshal
		panic(fmt.Sprintf("sandbox: encode %T: %v", v, err))
	}
	body = append(body, '\n')
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// decode reads one JSON value without unknown fields. Its error is safe to show.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("body is not the expected JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("body has more than one JSON value")
	}
	return nil
}

// wait pauses and reports whether the whole pause was served; false means that the client has gone.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
