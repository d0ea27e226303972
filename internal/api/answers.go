package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/patchbay-dev/patchbay/internal/api/input"
)

// success is the answer of commands.
var success = map[string]bool{"success": true}

// writeData answers 200 with {"data": v}.
func writeData(w http.ResponseWriter, v any) error {
	return writeJSON(w, http.StatusOK, map[string]any{"data": v})
}

// isoZ is the usual rendering of times: ISO-8601, UTC, milliseconds.
func isoZ(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// isoOffset is isoZ with the offset spelled out, as one connection is rendered.
func isoOffset(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000-07:00") }

// isoMicros has microseconds without trailing zeros and an offset, as lists and records are rendered.
func isoMicros(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999-07:00") }

// orNull is nil for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func validJSON(data []byte) bool { return json.Valid(data) }

func strictQuery(r *request) *input.Reader { return input.Query(r.query()).Strict() }
