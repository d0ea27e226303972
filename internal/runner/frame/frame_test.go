package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
)

func encode(t testing.TB, frames ...frame.Frame) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := frame.NewWriter(&buf)
	for _, f := range frames {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func TestFramesArriveAsSent(t *testing.T) {
	t.Parallel()
	want := []frame.Frame{
		{Op: frame.Call, Run: 7, Call: 9, Meta: []byte("http"), Body: []byte(`{"a":1}`)},
		{Op: frame.Cancel, Run: 1<<32 - 1, Meta: []byte{}, Body: []byte{}},
		{Op: frame.Done, Run: 1, Meta: []byte("{}"), Body: bytes.Repeat([]byte("x"), 3<<20)},
	}
	r := frame.NewReader(bytes.NewReader(encode(t, want...)), 0)
	for i := range want {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		same := got.Op == want[i].Op && got.Run == want[i].Run && got.Call == want[i].Call
		if !same || !bytes.Equal(got.Meta, want[i].Meta) || !bytes.Equal(got.Body, want[i].Body) {
			t.Errorf("frame %d: got op %d run %d call %d, %d and %d bytes", i, got.Op, got.Run, got.Call, len(got.Meta), len(got.Body))
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v", err)
	}
}

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	good := encode(t, frame.Frame{Op: frame.Call, Meta: []byte("op"), Body: []byte("body")})
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	tests := map[string]struct {
		in   []byte
		want error
	}{
		"an op that does not exist":     {change(4, 200), frame.ErrFrame},
		"no op":                         {change(4, 0), frame.ErrFrame},
		"a size below the header":       {change(0, 0, 0, 0, 10), frame.ErrFrame},
		"a size above the limit":        {change(0, 0xff, 0xff, 0xff, 0xff), frame.ErrFrame},
		"meta longer than the frame":    {change(13, 0xff, 0xff), frame.ErrFrame},
		"a frame cut in its header":     {good[:6], io.ErrUnexpectedEOF},
		"a frame cut in its body":       {good[:len(good)-1], io.ErrUnexpectedEOF},
		"a size that never comes":       {change(0, 0x05, 0, 0, 0), io.ErrUnexpectedEOF},
		"a stream that ends in a size":  {good[:2], io.ErrUnexpectedEOF},
		"a stream that ends with no op": {good[:4], io.ErrUnexpectedEOF},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := frame.NewReader(bytes.NewReader(test.in), 0).Next(); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestWriterRefusesWhatNoReaderTakes(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	w := frame.NewWriter(&buf)
	if err := w.Write(frame.Frame{Op: frame.Call, Meta: []byte(strings.Repeat("m", frame.MaxMeta+1))}); !errors.Is(err, frame.ErrFrame) {
		t.Errorf("got %v", err)
	}
	if buf.Len() != 0 {
		t.Error("a refused frame left bytes on the stream")
	}
	if err := w.Write(frame.Frame{Op: frame.Cancel}); err != nil || buf.Len() == 0 {
		t.Errorf("the writer is unusable after a refusal: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(encode(f, frame.Frame{Op: frame.Call, Run: 1, Call: 2, Meta: []byte("http"), Body: []byte("{}")}))
	f.Add(encode(f, frame.Frame{Op: frame.Hello}, frame.Frame{Op: frame.Done, Body: []byte("x")}))
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<31))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := frame.NewReader(bytes.NewReader(in), 1<<16)
		var again []byte
		for {
			got, err := r.Next()
			if err != nil {
				break
			}
			if len(got.Meta)+len(got.Body) > 1<<16 {
				t.Fatal("a frame is larger than allowed")
			}
			again = append(again, encode(t, got)...)
		}
		if !bytes.HasPrefix(in, again) {
			t.Error("what was read is not what was there")
		}
	})
}
