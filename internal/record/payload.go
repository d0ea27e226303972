package record

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/patchbay-dev/patchbay/internal/vault"
)

// The first byte of a payload, inside the seal, says how the rest is packed.
const (
	packedRaw  = 0
	packedZstd = 1
)

// packFrom is the size from which compressing is tried: below, the header eats what is gained.
const packFrom = 200

// place is where a payload belongs; it does not open anywhere else.
func place(streamID int64, externalID string) vault.Context {
	return vault.Context{Table: "record_payloads", Column: "payload", ID: PayloadID(streamID, externalID)}
}

// PayloadID is the identity under which a record's payload is sealed.
func PayloadID(streamID int64, externalID string) string {
	return strconv.FormatInt(streamID, 10) + "/" + externalID
}

// seal packs and seals the JSON of a record.
func (s *Service) seal(text []byte, streamID int64, externalID string) ([]byte, error) {
	packed := make([]byte, 1, len(text)+1)
	if len(text) >= packFrom {
		packed[0] = packedZstd
		packed = s.encoder.EncodeAll(text, packed)
	}
	if len(text) < packFrom || len(packed) > len(text) {
		packed = append(append(packed[:0], packedRaw), text...)
	}
	return s.opts.Vault.Seal(packed, place(streamID, externalID))
}

// open reverses seal.
func (s *Service) open(sealed []byte, streamID int64, externalID string) ([]byte, error) {
	packed, err := s.opts.Vault.Open(sealed, place(streamID, externalID))
	if err != nil {
		return nil, err
	}
	if len(packed) > 0 {
		switch packed[0] {
		case packedRaw:
			return packed[1:], nil
		case packedZstd:
			text, err := s.decoder.DecodeAll(packed[1:], nil)
			if err != nil {
				return nil, fmt.Errorf("unpack the record %s: %w", PayloadID(streamID, externalID), err)
			}
			return text, nil
		}
	}
	return nil, fmt.Errorf("unpack the record %s: %w", PayloadID(streamID, externalID), errPacking)
}

var errPacking = errors.New("packed in a way that this release does not know")
