// Package frame is the language between a Patchbay server and its runner processes: frames over two byte streams.
//
// One frame, integers big-endian:
//
//	uint32  size of what follows, 11 … MaxSize
//	uint8   op
//	uint32  run: the run it is about, 0 for the process as a whole
//	uint32  call: the host call it is about, unique within its run; else 0
//	uint16  length of meta
//	…       meta: small, by op (below)
//	…       body: the rest; a JSON text that neither side needs to parse to pass it on
//
// Bytes travel inside JSON as base64: the engine decodes it natively, and a script can hold no raw bytes without it.
//
//	op        direction   meta                      body
//	Hello     → runner    JSON of Hello             –
//	Ready     ← runner    JSON of Ready             –
//	Load      → runner    the bundle's key          its code
//	Run       → runner    JSON of Run               the request for the SDK
//	Call      ← runner    op of the host call       its request
//	Reply     → runner    "" or "error"             its reply, or the error object
//	Cancel    → runner    –                         –
//	Overrun   ← runner    –                         –  (CPU limit reached; Done follows, or the process is stuck)
//	Log       ← runner    "warn" …                  one line for the operator
//	Done      ← runner    JSON of Done              the SDK's result
//
// A reader trusts nothing: a frame that does not fit these rules is an error, and the connection is of no further use.
package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Op says what a frame is about.
type Op uint8

// The ops; 0 is none.
const (
	Hello Op = iota + 1
	Ready
	Load
	Run
	Call
	Reply
	Cancel
	Overrun
	Log
	Done
	last = Done
)

const (
	header = 4 + 1 + 4 + 4 + 2
	// MaxMeta is the largest meta, in bytes.
	MaxMeta = 1<<16 - 1
	// MaxSize is the largest frame, in bytes. A machine with the default memory limit can not hold a string of this size twice.
	MaxSize = 96 << 20
)

// ErrFrame is any violation of the rules above.
var ErrFrame = errors.New("malformed frame")

// Frame is one message.
type Frame struct {
	Op   Op
	Run  uint32
	Call uint32
	Meta []byte
	Body []byte
}

// Reader takes frames from a stream. Not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	max int
}

// NewReader reads from r, and refuses frames of more than max bytes (0: MaxSize).
func NewReader(r io.Reader, max int) *Reader {
	if max == 0 {
		max = MaxSize
	}
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), max: max}
}

// Next returns the next frame; its slices are the caller's. io.EOF means that the stream ended between two frames.
func (r *Reader) Next() (Frame, error) {
	var head [header]byte
	if _, err := io.ReadFull(r.r, head[:4]); err != nil {
		return Frame{}, err
	}
	size := int(binary.BigEndian.Uint32(head[:4]))
	if size < header-4 || size > r.max {
		return Frame{}, fmt.Errorf("%w: size %d", ErrFrame, size)
	}
	if _, err := io.ReadFull(r.r, head[4:]); err != nil {
		return Frame{}, unexpected(err)
	}
	f := Frame{
		Op:   Op(head[4]),
		Run:  binary.BigEndian.Uint32(head[5:]),
		Call: binary.BigEndian.Uint32(head[9:]),
	}
	meta := int(binary.BigEndian.Uint16(head[13:]))
	size -= header - 4
	if f.Op == 0 || f.Op > last {
		return Frame{}, fmt.Errorf("%w: op %d", ErrFrame, f.Op)
	}
	if meta > size {
		return Frame{}, fmt.Errorf("%w: meta of %d in %d bytes", ErrFrame, meta, size)
	}
	rest, err := r.read(size)
	if err != nil {
		return Frame{}, unexpected(err)
	}
	f.Meta, f.Body = rest[:meta:meta], rest[meta:]
	return f, nil
}

// read returns n bytes. It asks for memory as they arrive: a forged size costs the sender as much as the reader.
func (r *Reader) read(n int) ([]byte, error) {
	const step = 1 << 20
	buf := make([]byte, 0, min(n, step))
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, 2*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		got, err := io.ReadFull(r.r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+got]
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Writer puts frames on a stream. Safe for concurrent use. After an error every further Write fails with it.
type Writer struct {
	mu  sync.Mutex
	w   *bufio.Writer
	err error
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Write sends one frame. A frame over the limits is an error that sends nothing and leaves the Writer usable.
func (w *Writer) Write(f Frame) error {
	size := header - 4 + len(f.Meta) + len(f.Body)
	if len(f.Meta) > MaxMeta || size > MaxSize {
		return fmt.Errorf("%w: %d bytes of meta, %d of body", ErrFrame, len(f.Meta), len(f.Body))
	}
	var head [header]byte
	binary.BigEndian.PutUint32(head[:], uint32(size))
	head[4] = byte(f.Op)
	binary.BigEndian.PutUint32(head[5:], f.Run)
	binary.BigEndian.PutUint32(head[9:], f.Call)
	binary.BigEndian.PutUint16(head[13:], uint16(len(f.Meta)))

	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range [][]byte{head[:], f.Meta, f.Body} {
		if w.err == nil {
			_, w.err = w.w.Write(part)
		}
	}
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// HelloMeta tells a new runner how to work.
type HelloMeta struct {
	// Warm is how many machines of each kind are kept ready.
	Warm int `json:"warm"`
	// Data limits the process's private memory (RLIMIT_DATA), in bytes; 0: unlimited.
	Data int64 `json:"data"`
}

// ReadyMeta is a runner's answer: what it could do to lock itself up.
type ReadyMeta struct {
	// Filtered: the kernel refuses this process files, sockets and new processes (seccomp).
	Filtered bool `json:"filtered"`
	// Problem is why not, if it tried.
	Problem string `json:"problem,omitempty"`
}

// RunMeta is what the process, not the script, needs to know about a run.
type RunMeta struct {
	Bundle    string        `json:"bundle"` // the key it was loaded under
	Name      string        `json:"name"`
	Memory    int64         `json:"memory"`
	CPU       time.Duration `json:"cpu"`
	HostCalls int           `json:"hostCalls"`
	Output    int           `json:"output"`
}

// DoneMeta is how a run ended.
type DoneMeta struct {
	// Fault is "" when the SDK gave a result, else one of the Fault constants; Detail is for the operator.
	Fault  string        `json:"fault,omitempty"`
	Detail string        `json:"detail,omitempty"`
	CPU    time.Duration `json:"cpu"`
	Memory int64         `json:"memory"`
	// Exhausted: the machine was refused memory, so an error that makes no sense may mean that.
	Exhausted bool `json:"exhausted,omitempty"`
	// Unhandled describes rejections nobody listened to.
	Unhandled []string `json:"unhandled,omitempty"`
}

// Why a run has no result of the SDK.
const (
	FaultStuck     = "stuck"
	FaultCPU       = "cpu"
	FaultMemory    = "memory"
	FaultOutput    = "output"
	FaultScript    = "script"
	FaultSyntax    = "syntax"
	FaultCancelled = "cancelled"
	FaultInternal  = "internal"
)
