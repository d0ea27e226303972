package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"
)

// maxEchoed is how much of a body comes back; the digest covers all of it.
const maxEchoed = 1 << 20

// echoed is a request as Acme received it.
type echoed struct {
	Method string `json:"method"`
	// Path is decoded, RawPath is as it came.
	Path    string `json:"path"`
	RawPath string `json:"raw_path"`
	// Query is the raw query string without the question mark.
	Query   string      `json:"query"`
	Host    string      `json:"host"`
	Proto   string      `json:"proto"`
	Headers http.Header `json:"headers"`
	// ContentLength is -1 when the client announced none.
	ContentLength    int64    `json:"content_length"`
	TransferEncoding []string `json:"transfer_encoding,omitempty"`
	BodySHA256       string   `json:"body_sha256"`
	BodySize         int64    `json:"body_size"`
	BodyBase64       string   `json:"body_base64"`
	// BodyText is only there when the body is UTF-8.
	BodyText string `json:"body_text,omitempty"`
	// BodyTruncated says that the last two end after 1 MiB.
	BodyTruncated bool `json:"body_truncated,omitempty"`
}

// echo reads the whole body, whatever its size, and tells what arrived. It asks for no credentials.
func (s *Server) echo(w http.ResponseWriter, r *http.Request) {
	digest := sha256.New()
	var head bytes.Buffer
	size, err := io.CopyN(&head, io.TeeReader(r.Body, digest), maxEchoed)
	if err == nil {
		var rest int64
		rest, err = io.Copy(digest, r.Body)
		size += rest
	}
	if err != nil && !errors.Is(err, io.EOF) {
		failf(w, http.StatusBadRequest, "body_broken", "The body ended early.")
		return
	}
	e := echoed{
		Method: r.Method, Path: r.URL.Path, RawPath: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Proto: r.Proto, Headers: r.Header,
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, BodySHA256: hex.EncodeToString(digest.Sum(nil)), BodySize: size,
		BodyBase64: base64.StdEncoding.EncodeToString(head.Bytes()), BodyTruncated: size > maxEchoed,
	}
	if utf8.Valid(head.Bytes()) {
		e.BodyText = head.String()
	}
	answer(w, http.StatusOK, e)
}
