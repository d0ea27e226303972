package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// writeJSON answers with v as JSON. Characters such as < are not escaped: clients get what was stored.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	writeRaw(w, status, bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	return nil
}

// writeRaw answers with JSON that is ready.
func writeRaw(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; there is nobody left to tell
}

// modernError and legacyError are the two envelopes of the wire contract.
type modernError struct {
	Code    string       `json:"code"`
	Message string       `json:"message,omitempty"`
	Errors  []errs.Issue `json:"errors,omitempty"`
	Payload any          `json:"payload,omitempty"`
}

type legacyError struct {
	Message string `json:"message,omitempty"`
	Code    string `json:"code"`
	Payload any    `json:"payload"`
}

// writeError answers with err. What is not an *errs.Error is an internal fault: the client gets a reference id, and the log
// the cause under the same id.
func writeError(ctx context.Context, w http.ResponseWriter, logger *slog.Logger, err error) {
	var known *errs.Error
	if !errors.As(err, &known) {
		reference := uuid.NewString()
		logger.ErrorContext(ctx, "internal fault", "reference", reference, "err", err)
		known = errs.New(http.StatusInternalServerError, "generic_error_support",
			"An internal fault. The server's log has its cause under the reference "+reference+".").WithPayload(reference)
	}
	var body any = struct {
		Error modernError `json:"error"`
	}{modernError{known.Code, known.Message, known.Issues, known.Payload}}
	if known.Legacy {
		payload := known.Payload
		if payload == nil {
			payload = struct{}{}
		}
		body = struct {
			Error legacyError `json:"error"`
		}{legacyError{known.Message, known.Code, payload}}
	}
	if err := writeJSON(w, known.Status, body); err != nil {
		logger.ErrorContext(ctx, "write an error", "code", known.Code, "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}
