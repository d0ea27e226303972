package record

import (
	"context"
	"errors"
	"time"
)

// ErrNoStream is what a Store returns for a stream that is not there (any more).
var ErrNoStream = errors.New("record: no such stream")

// StreamState is a stream as it is stored. Times are microseconds since 1970.
type StreamState struct {
	Stream

	ID int64
	// Clock is the greatest time that a change of a record was given.
	Clock int64
	// Version grows with every change of a record, so that what was read before the lock is known to be still true.
	Version int64
	// Live counts the records that are not deleted, Size sums up the JSON that is stored, of deleted records too.
	Live, Size int64
	// PrunedTo: no record up to this time has a payload.
	PrunedTo int64
	// Touched is when a run last used the stream, to the hour.
	Touched int64
}

// Row is a record as it is stored. Times are microseconds since 1970, 0 if not set.
type Row struct {
	ID         int64
	ExternalID string
	Hash       []byte
	Created    int64
	Updated    int64
	Deleted    int64
	Pruned     int64
	Generation int64
	// Size is the length of the JSON text.
	Size int64
	// Payload is sealed. Where a row is written nil means: leave what is stored.
	Payload []byte
}

// Range picks rows of a stream in the order of their last change.
type Range struct {
	StreamID int64
	// After is exclusive, Until inclusive.
	After, Until int64
	// Added, Updated and Deleted pick by the last action.
	Added, Updated, Deleted bool
	// IDs, when not nil, are the external ids to pick from.
	IDs   []string
	Limit int
}

// Store keeps streams and records.
type Store interface {
	// Write runs fn in a transaction that all methods join when they are called with its context. It may run more than once.
	Write(ctx context.Context, fn func(ctx context.Context) error) error

	StreamStore
	RowStore
	Sweeps
}

// StreamStore keeps streams.
type StreamStore interface {
	// FindStream gives ErrNoStream if there is none.
	FindStream(ctx context.Context, stream Stream) (StreamState, error)
	// OpenStream is FindStream, but makes the stream if need be: touched now, with a clock just before.
	OpenStream(ctx context.Context, stream Stream, now int64) (StreamState, error)
	// LockStream reads a stream and keeps everybody else from locking it until the transaction ends.
	LockStream(ctx context.Context, id int64) (StreamState, error)
	// SaveStream stores everything but the names of a stream that is locked.
	SaveStream(ctx context.Context, stream StreamState) error
	// DeleteStream removes a stream that is locked, unless it has records.
	DeleteStream(ctx context.Context, id int64) (deleted bool, err error)
	// Streams gives the streams of a connection, or of the environment for 0, in the order of their names.
	Streams(ctx context.Context, environmentID, connectionID int64) ([]StreamState, error)
}

// RowStore keeps records. What writes must be called under the lock of the stream.
type RowStore interface {
	// Rows gives the records of a stream with these external ids, in no order, with payloads if asked for.
	Rows(ctx context.Context, streamID int64, externalIDs []string, payloads bool) ([]Row, error)
	// Each calls fn with each row in range, payload included, until fn says stop. The row's bytes are good until fn returns.
	Each(ctx context.Context, r Range, fn func(row Row) (more bool, err error)) error
	// Edge gives the first or last row of a stream, without payload; false if the stream is empty.
	Edge(ctx context.Context, streamID int64, last bool) (Row, bool, error)
	Insert(ctx context.Context, streamID int64, rows []Row) error
	// Update stores everything but ID and ExternalID.
	Update(ctx context.Context, rows []Row) error
	// Mark raises the generation of records.
	Mark(ctx context.Context, ids []int64, generation int64) error
	// Remove removes up to limit records that were last changed until the given time.
	Remove(ctx context.Context, streamID, until int64, limit int) (Removed, error)
	// Prune drops the payloads of up to limit records in (after, until], oldest first.
	Prune(ctx context.Context, streamID, after, until, now int64, limit int) (Pruned, error)
}

// Sweeps find what is to be cleaned up. They are called outside of transactions.
type Sweeps interface {
	// Unseen gives up to limit live records of a stream with an external id after the given one, in their order, that no run
	// from generation on had.
	Unseen(ctx context.Context, streamID int64, after string, generation int64, limit int) ([]Row, error)
	// DeleteUnseen marks rows as deleted with their Deleted and Updated if they are still live and unseen. It gives those it did.
	DeleteUnseen(ctx context.Context, rows []Row, generation int64) ([]Row, error)
	// Prunable gives up to limit streams with an id after the given one and with payloads that were not changed since the cutoff.
	Prunable(ctx context.Context, after, cutoff int64, limit int) ([]StreamState, error)
	// Idle gives up to limit streams that were not touched since the cutoff.
	Idle(ctx context.Context, cutoff int64, limit int) ([]StreamState, error)
}

// Removed is what Store.Remove did.
type Removed struct {
	Count      int
	Live, Size int64 // of the removed
}

// Pruned is what Store.Prune did.
type Pruned struct {
	Count int
	Size  int64
	// Last is the time of the last record that was pruned.
	Last Row
}

// micros is how a time is stored, timeOf reads it.
func micros(t time.Time) int64 { return t.UnixMicro() }

func timeOf(at int64) time.Time { return time.UnixMicro(at).UTC() }
