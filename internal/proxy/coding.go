package proxy

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// decodable is what we ask for when we decode ourselves.
const decodable = "gzip, deflate, br"

// askEncoding sets the Accept-Encoding of the request to the third party. What the caller forwards stands. Otherwise we ask for
// what the receiver decodes itself, so that a large download passes as it is; for what we can decode when we are told to; and
// for the plain body when nobody can. A part of a coded body can't be decoded alone, so a Range asks for the plain body too.
func askEncoding(h http.Header, accepted string, decompress bool) {
	switch {
	case h.Get("Accept-Encoding") != "":
	case decompress && h.Get("Range") == "":
		h.Set("Accept-Encoding", decodable)
	case accepted != "" && !decompress:
		h.Set("Accept-Encoding", accepted)
	default:
		h.Set("Accept-Encoding", "identity")
	}
}

// decode undoes the content codings of an answer unless the receiver does it. accepted are the Accept-Encoding lists that the
// receiver stands for. What we don't know passes as it is.
func decode(res *http.Response, method string, decompress bool, accepted ...string) {
	codings := listed(res.Header.Values("Content-Encoding"))
	codings = slices.DeleteFunc(codings, func(c string) bool { return c == "identity" })
	if len(codings) == 0 || len(codings) > maxCodings || !hasBody(res, method) || res.StatusCode == http.StatusPartialContent {
		return
	}
	if !decompress && !slices.ContainsFunc(codings, func(c string) bool { return !accepts(accepted, c) }) {
		return
	}
	readers := make([]func(io.Reader) (io.Reader, error), len(codings))
	for i, coding := range codings {
		if readers[i] = decoders(coding); readers[i] == nil {
			return
		}
	}
	res.Header.Del("Content-Encoding")
	res.Header.Del("Content-Length")
	res.ContentLength = -1
	res.Body = &decoded{coded: res.Body, readers: readers}
}

// hasBody reports whether an answer has one by RFC 9110 section 6.4.1.
func hasBody(res *http.Response, method string) bool {
	return method != http.MethodHead && res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusNotModified
}

func listed(lines []string) []string {
	var all []string
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.ToLower(strings.TrimSpace(item)); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

// accepts reads Accept-Encoding lists, RFC 9110 section 12.5.3: a coding, or "*", with a weight other than 0.
func accepts(lists []string, coding string) bool {
	for _, item := range listed(lists) {
		name, params, _ := strings.Cut(item, ";")
		if name = strings.TrimSpace(name); name != coding && name != "*" && "x-"+name != coding {
			continue
		}
		weight, weighted := strings.CutPrefix(strings.TrimSpace(params), "q=")
		if q, err := strconv.ParseFloat(weight, 64); !weighted || err != nil || q > 0 {
			return true
		}
	}
	return false
}

// maxCodings bounds how often a body may be coded; honest servers do it once.
const maxCodings = 3

func decoders(coding string) func(io.Reader) (io.Reader, error) {
	switch coding {
	case "gzip", "x-gzip":
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "deflate":
		return inflate
	case "br":
		return func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }
	}
	return nil
}

// inflate reads the zlib format, which "deflate" means, and the bare one, which some servers send.
func inflate(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	head, err := buffered.Peek(2)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 { // RFC 1950 section 2.2
		return zlib.NewReader(buffered)
	}
	return flate.NewReader(buffered), nil
}

// decoded is a body whose codings are undone while it is read. An empty body is empty in every coding.
type decoded struct {
	coded   io.ReadCloser
	readers []func(io.Reader) (io.Reader, error) // in the order in which they were applied
	plain   io.Reader
	err     error
}

func (d *decoded) Read(p []byte) (int, error) {
	if d.plain == nil && d.err == nil {
		d.start()
	}
	if d.err != nil {
		return 0, d.err
	}
	return d.plain.Read(p)
}

func (d *decoded) start() {
	buffered := bufio.NewReader(d.coded)
	if _, err := buffered.Peek(1); err != nil {
		d.err = err
		return
	}
	var r io.Reader = buffered
	for _, open := range slices.Backward(d.readers) {
		if r, d.err = open(r); d.err != nil {
			return
		}
	}
	d.plain = r
}

func (d *decoded) Close() error { return d.coded.Close() }
