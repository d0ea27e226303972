// Package errs is the vocabulary of failures that may be shown to a client.
//
// An Error carries a stable code and a message that is safe to show; its cause stays behind for the log. Anything that is
// not an *Error is an internal fault: the edge (internal/api, internal/cli) shows it as a reference id and logs the cause.
// Callers branch with errors.As/errors.Is on types and sentinels, never on message text.
package errs

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is a failure the client may see.
//
// Code is part of the public contract and never changes. Message is plain English without secrets or internals. Status is
// the HTTP status. Legacy selects the older error envelope, which always has a payload object (docs/api-errors.md).
type Error struct {
	Code    string
	Message string
	Status  int
	Legacy  bool
	// Payload is extra data for the client; nil leaves it out (modern envelope) or sends {} (legacy envelope).
	Payload any
	// Issues lists what validation found wrong, one entry per field.
	Issues []Issue

	cause error
}

// Issue is one validation finding. Path elements are always strings, array indices included.
type Issue struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Path    []string `json:"path"`
}

// New makes an error without a cause.
func New(status int, code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

// Newf is New with a formatted message. Arguments must be safe to show.
func Newf(status int, code, format string, args ...any) *Error {
	return New(status, code, fmt.Sprintf(format, args...))
}

// NotFound is a 404 with the code not_found.
func NotFound(message string) *Error { return New(http.StatusNotFound, "not_found", message) }

// Invalid is a 400 that reports validation issues under code (invalid_body, invalid_query_params, …).
func Invalid(code string, issues ...Issue) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Issues: issues}
}

// Because returns a copy that wraps cause: errors.Is and errors.As see it, the client does not.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// WithPayload returns a copy with the payload set.
func (e *Error) WithPayload(payload any) *Error {
	c := *e
	c.Payload = payload
	return &c
}

// AsLegacy returns a copy that is written in the older envelope.
func (e *Error) AsLegacy() *Error {
	c := *e
	c.Legacy = true
	return &c
}

// Error is for the log: it includes the cause, which the client never sees.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString(e.Code)
	if e.Message != "" {
		text.WriteString(": " + e.Message)
	}
	for _, issue := range e.Issues {
		fmt.Fprintf(&text, "; %v: %s", issue.Path, issue.Message)
	}
	if e.cause != nil {
		text.WriteString(": " + e.cause.Error())
	}
	return text.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes two Errors equal when their codes and statuses are, so that a package can export an *Error as a sentinel and
// still return it with a cause or a payload.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Code == e.Code && other.Status == e.Status
}

// Code returns the code of err if a client may see it, else "".
func Code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
