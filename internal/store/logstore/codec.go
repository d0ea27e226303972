package logstore

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/patchbay-dev/patchbay/internal/oplog"
)

// decodedLimit bounds what one compressed value may grow to: ten times the largest chunk, a message of all limits at once.
const decodedLimit = 64 << 20

// codec compresses records and messages. It is safe for concurrent use.
type codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec() (codec, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return codec{}, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(decodedLimit))
	if err != nil {
		return codec{}, err
	}
	return codec{encoder, decoder}, nil
}

func (c codec) encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return c.encoder.EncodeAll(raw, make([]byte, 0, len(raw)/2)), nil
}

func (c codec) decode(data []byte, v any) error {
	raw, err := c.decoder.DecodeAll(data, nil)
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	return json.Unmarshal(raw, v)
}

func (c codec) record(data []byte) (oplog.Record, error) {
	var r oplog.Record
	err := c.decode(data, &r)
	return r, err
}

func (c codec) messages(data []byte) ([]oplog.Message, error) {
	var all []oplog.Message
	err := c.decode(data, &all)
	return all, err
}

// column makes s fit for a text column: PostgreSQL takes no NUL and no broken UTF-8.
func column(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
