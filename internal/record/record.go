package record

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Limits of the wire contract.
const (
	// MaxBatch is how many records one Save, Update or Delete takes; it is one transaction.
	MaxBatch = 1000
	// MaxID is the length of an external id in UTF-16 units, as JavaScript counts.
	MaxID = 255
	// MaxPage is how many records a page has at most, DefaultPage how many if nobody says.
	MaxPage     = 10_000
	DefaultPage = 100
	// MaxIDs is how many records can be asked for by id at once.
	MaxIDs = 100
)

// Base is the variant that has no name of its own.
const Base = "base"

// FullModel is the full name of a model: the model itself, or Model::variant for another variant than the base.
func FullModel(model, variant string) string {
	if variant == "" || variant == Base {
		return model
	}
	return model + "::" + variant
}

// Stream names all records of a model of a connection.
type Stream struct {
	EnvironmentID int64
	ConnectionID  int64 // the internal id
	Model         string
}

// Run is who writes.
type Run struct {
	// Generation is the id of the run. Later runs have greater ones.
	Generation int64
	// Checkpoint is the name of the sync's checkpoint, such as sync:contacts:base; delete tracking keeps its window below it.
	Checkpoint string
}

// Strategy says what a batch may do to records that somebody else changed meanwhile.
type Strategy string

// The strategies. The zero value is Override.
const (
	Override              Strategy = "override"
	IgnoreIfModifiedAfter Strategy = "ignore_if_modified_after"
)

// Merge is a strategy and how far it has got; see Service.StartMerge.
type Merge struct {
	Strategy Strategy
	// Cursor protects the records behind it, for IgnoreIfModifiedAfter. The zero Cursor protects nothing.
	Cursor Cursor
}

// maxKeys is how many ids a Result names, for the log.
const maxKeys = 100

// Result is what a batch did. Records that were stored as deleted or deleted once more are in no count.
type Result struct {
	Added, Updated, Deleted, Unchanged int
	// Skipped counts records that Merge protected.
	Skipped int
	// Keys are the external ids of the first 100 records that were added, updated or deleted.
	Keys []string
	// Duplicates are the external ids that came more than once; the first of each was taken.
	Duplicates []string
	// NextMerge is for the next batch of the same model and run.
	NextMerge Merge
}

// Sealer seals payloads. The place of a payload is its stream and external id.
type Sealer interface {
	Seal(plaintext []byte, c vault.Context) ([]byte, error)
	Open(sealed []byte, c vault.Context) ([]byte, error)
	Hash(purpose string, value []byte) []byte
}

// Checkpoints keep the windows of delete tracking.
type Checkpoints interface {
	Get(ctx context.Context, key checkpoint.Key) (checkpoint.Checkpoint, error)
	Save(ctx context.Context, key checkpoint.Key, fields json.RawMessage, version int64) (int64, error)
	Clear(ctx context.Context, key checkpoint.Key, version int64) (int64, error)
	DeleteConnection(ctx context.Context, environmentID, connectionID int64) error
}

// Options of New. Store, Vault and Checkpoints are required; the checkpoints must be stored where the records are.
type Options struct {
	Store       Store
	Vault       Sealer
	Checkpoints Checkpoints
	// MaxPageBytes bounds the JSON of a page; a page has one record at least. 0 means 64 MB.
	MaxPageBytes int
	Now          func() time.Time
}

// Service is the rules of the records cache. It is safe for concurrent use.
type Service struct {
	opts    Options
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	hashes  sync.Pool // of hash.Hash
}

// New makes a Service.
func New(opts Options) (*Service, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxPageBytes == 0 {
		opts.MaxPageBytes = 64 << 20
	}
	s := &Service{opts: opts}
	var err error
	// The window bounds the memory of each encoder. No checksum: the seal has one.
	s.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithWindowSize(64<<10))
	if err != nil {
		return nil, fmt.Errorf("record: compressor: %w", err)
	}
	if s.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0)); err != nil {
		return nil, fmt.Errorf("record: decompressor: %w", err)
	}
	key := opts.Vault.Hash("record", []byte("key of the hashes of records"))
	s.hashes.New = func() any { return hmac.New(sha256.New, key) }
	return s, nil
}

func (s *Service) now() int64 { return micros(s.opts.Now()) }

// hashSize is how much of the HMAC-SHA256 is kept: a record is only compared with its own former state.
const hashSize = 16

// sum gives the keyed hash of a record's text, as a whole record or as a partial one. They differ: a record that was updated is
// not the same as one that was saved with the text of the update.
func (s *Service) sum(text []byte, partial bool) []byte {
	h := s.hashes.Get().(hash.Hash)
	defer s.hashes.Put(h)
	h.Reset()
	_, _ = h.Write(text) // never fails, nor does the next
	if partial {
		_, _ = h.Write([]byte(" partial")) // no JSON text ends like this
	}
	return h.Sum(make([]byte, 0, sha256.Size))[:hashSize:hashSize]
}
