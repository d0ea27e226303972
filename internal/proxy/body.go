package proxy

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

const (
	// maxReplay is how much of a streamed body is kept so that it can be sent again. Uploads of more are rarely repeatable
	// anyway, and each call in flight may hold as much.
	maxReplay = 4 << 20
	// maxRewrite bounds the bodies that must be read whole: those that are converted, merged or signed.
	maxRewrite = 16 << 20
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// payload is the body of a call in a form that can be sent more than once, if that is possible at all.
type payload struct {
	// contentType is what the third party is told; "" is nothing.
	contentType string
	// length is in bytes; 0 is no body, -1 not known.
	length int64

	// loaded is set when the body was read whole into memory. Otherwise one of reopen and recorded is set unless length is 0.
	loaded   bool
	memory   []byte
	reopen   func() (io.ReadCloser, error)
	recorded *recorder
}

// newPayload decides what is sent. Only what must be rewritten is read here.
func newPayload(call *Call, rules *provider.Proxy) (*payload, error) {
	p := &payload{}
	if call.Method == http.MethodGet || call.Method == http.MethodHead {
		return p, nil
	}
	rewrite := p.chooseType(call, rules)
	empty := call.Body == nil || call.ContentLength == 0
	fill := call.Method == http.MethodPost || call.Method == http.MethodPut || call.Method == http.MethodPatch
	if !fill && empty {
		p.contentType = ""
		return p, nil
	}
	if rewrite != nil || !rules.Body.IsZero() || rules.ReadsBody() {
		return p, p.load(call, rewrite, fill)
	}
	if empty {
		return p, nil
	}
	p.length = call.ContentLength
	if p.reopen = call.GetBody; p.reopen == nil {
		p.recorded = &recorder{source: call.Body, keep: p.length <= maxReplay, size: p.length}
	}
	return p, nil
}

// chooseType sets the content type and gives the conversion that it needs, if any.
func (p *payload) chooseType(call *Call, rules *provider.Proxy) func([]byte) ([]byte, error) {
	want := call.Header.Get("Content-Type")
	if want == "" {
		for _, h := range rules.Headers {
			if h.Name == "content-type" && h.Value.IsLiteral() {
				want = h.Value.String()
			}
		}
	}
	own, to := mediaType(call.ContentType), mediaType(want)
	switch {
	case want == "" && call.ContentType == formType:
		p.contentType = jsonType
		return formToJSON
	case want == "":
		p.contentType = call.ContentType
	case own == formType && isJSON(to):
		p.contentType = want
		return formToJSON
	case isJSON(own) && to == formType:
		p.contentType = want
		return jsonToForm
	case strings.HasPrefix(to, "multipart/") && !hasBoundary(want) && hasBoundary(call.ContentType):
		p.contentType = call.ContentType // without the boundary nobody can read the body
	default:
		p.contentType = want
	}
	return nil
}

func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

func isJSON(media string) bool {
	return media == jsonType || strings.HasSuffix(media, "+json")
}

func hasBoundary(contentType string) bool {
	_, params, err := mime.ParseMediaType(contentType)
	return err == nil && params["boundary"] != ""
}

// load reads the body whole. fill makes an object of an empty body, for the methods that have one.
func (p *payload) load(call *Call, rewrite func([]byte) ([]byte, error), fill bool) error {
	var data []byte
	if call.Body != nil {
		var err error
		if data, err = io.ReadAll(io.LimitReader(call.Body, maxRewrite+1)); err != nil {
			return errs.New(http.StatusBadRequest, "invalid_body", "The body could not be read").Because(err)
		}
	}
	if len(data) > maxRewrite {
		return errs.Newf(http.StatusRequestEntityTooLarge, "body_too_large",
			"A body that has to be converted or signed can have %d bytes. Name its own type in Nango-Proxy-Content-Type", maxRewrite)
	}
	if rewrite != nil && (fill || len(data) > 0) {
		var err error
		if data, err = rewrite(data); err != nil {
			return bad("invalid_body", "The body is not what its Content-Type says").Because(err)
		}
	}
	p.loaded, p.memory, p.length = true, data, int64(len(data))
	return nil
}

// merge lays fields of the provider over an object or form body that is in memory.
func (p *payload) merge(fields map[string]any) (*payload, error) {
	if len(fields) == 0 {
		return p, nil
	}
	next := *p
	var err error
	switch media := mediaType(p.contentType); {
	case media == formType:
		next.memory, err = mergeForm(p.memory, fields)
	case isJSON(media) || p.length == 0:
		if p.length == 0 {
			next.contentType = jsonType
		}
		next.memory, err = mergeJSON(p.memory, fields)
	}
	if err != nil {
		return nil, bad("invalid_body", "The body is not what its Content-Type says").Because(err)
	}
	next.length = int64(len(next.memory))
	return &next, nil
}

// open gives the body from its start. It is called once per attempt and per redirect. touch is called when bytes are taken.
func (p *payload) open(touch func()) (io.ReadCloser, error) {
	var body io.ReadCloser
	var err error
	switch {
	case p.length == 0:
		return http.NoBody, nil
	case p.reopen != nil:
		body, err = p.reopen()
	case p.recorded != nil:
		body, err = p.recorded.view()
	default:
		body = io.NopCloser(bytes.NewReader(p.memory))
	}
	return &touching{body, touch}, err
}

// touching is a body that reports each read.
type touching struct {
	io.ReadCloser
	touch func()
}

func (t *touching) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.touch()
	return n, err
}

// repeatable reports whether open works once more.
func (p *payload) repeatable() bool { return p.recorded == nil || p.recorded.whole() }

var errNotKept = errors.New("the body is too long to be sent again")

// recorder reads a stream once and hands it out as often as needed, as long as it has kept it whole.
type recorder struct {
	mu     sync.Mutex // held while the source is read, which may take long
	source io.Reader
	size   int64 // -1 when not known
	keep   bool
	kept   []byte
	read   int64
	err    error // what ended the source; io.EOF is the regular end

	lost atomic.Bool // bytes were handed out that are not kept
}

func (r *recorder) whole() bool { return !r.lost.Load() }

// view gives a reader from the start. What an earlier view is still reading is not lost: it is kept for this one.
func (r *recorder) view() (io.ReadCloser, error) {
	if !r.whole() {
		return nil, errNotKept
	}
	return &view{from: r}, nil
}

func (r *recorder) readAt(p []byte, offset int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset < r.read {
		if !r.keep {
			return 0, errNotKept
		}
		return copy(p, r.kept[offset:]), nil
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.source.Read(p)
	r.read += int64(n)
	r.err = err
	if r.keep = r.keep && r.read <= maxReplay; r.keep {
		if r.kept == nil && r.size > 0 {
			r.kept = make([]byte, 0, r.size)
		}
		r.kept = append(r.kept, p[:n]...)
	} else if n > 0 {
		r.kept = nil
		r.lost.Store(true)
	}
	return n, err
}

type view struct {
	from   *recorder
	offset int64
	closed atomic.Bool
}

func (v *view) Read(p []byte) (int, error) {
	if v.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := v.from.readAt(p, v.offset)
	v.offset += int64(n)
	return n, err
}

// Close ends this view; the source belongs to the caller.
func (v *view) Close() error {
	v.closed.Store(true)
	return nil
}
