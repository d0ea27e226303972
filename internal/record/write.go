package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// operation is what a batch does.
type operation int

const (
	saving operation = iota
	updating
	deleting
)

// action is what becomes of one record.
type action int

const (
	leave   action = iota
	insert         // new and live
	bury           // new and deleted
	change         // live, other content
	restore        // live, same content, but it was pruned
	revive         // was deleted
	remove         // was live
	rebury         // was deleted, is so once more
	protect        // Merge keeps it as it is
)

// Save stores records, a JSON array of objects. Errors of the input are *errs.Error 400.
func (s *Service) Save(ctx context.Context, stream Stream, run Run, records json.RawMessage, merge Merge) (Result, error) {
	return s.write(ctx, saving, stream, run, records, merge)
}

// Update lays partial records over live ones: objects are merged deeply, everything else is replaced. Ids that are not there,
// or deleted, are ignored, and so is a partial record that is the same as the last that was written.
func (s *Service) Update(ctx context.Context, stream Stream, run Run, records json.RawMessage, merge Merge) (Result, error) {
	return s.write(ctx, updating, stream, run, records, merge)
}

// Delete marks records as deleted: now, or at their deletedAt. A record that is given as its id alone keeps its payload, any other
// replaces it.
func (s *Service) Delete(ctx context.Context, stream Stream, run Run, records json.RawMessage, merge Merge) (Result, error) {
	return s.write(ctx, deleting, stream, run, records, merge)
}

// StartMerge begins a strategy for a model and run: what is changed from now on by others is protected.
func (s *Service) StartMerge(ctx context.Context, stream Stream, strategy Strategy) (Merge, error) {
	merge := Merge{Strategy: strategy}
	if strategy != IgnoreIfModifiedAfter {
		return merge, nil
	}
	last, _, err := s.Edge(ctx, stream, true)
	merge.Cursor = last
	return merge, err
}

// opens is how often a write is begun again because its stream was removed in between.
const opens = 3

func (s *Service) write(ctx context.Context, op operation, stream Stream, run Run, records json.RawMessage, merge Merge) (Result, error) {
	b, err := parseBatch(records, op == deleting)
	if err != nil {
		return Result{}, err
	}
	if len(b.items) == 0 {
		return Result{NextMerge: merge}, nil
	}
	for i := range b.items {
		it := &b.items[i]
		it.hash = s.sum(it.text, false)
		if op == updating {
			it.whole, it.hash = it.hash, s.sum(it.text, true)
		}
	}
	w := writer{service: s, op: op, stream: stream, run: run, batch: b, merge: merge}
	for try := 1; ; try++ {
		err := w.write(ctx)
		if err == nil {
			return w.result, nil
		}
		if !errors.Is(err, ErrNoStream) || try == opens {
			return Result{}, fmt.Errorf("write %s of connection %d: %w", stream.Model, stream.ConnectionID, err)
		}
	}
}

// writer is one batch on its way into its stream.
type writer struct {
	service *Service
	op      operation
	stream  Stream
	run     Run
	batch   *batch
	merge   Merge

	state   StreamState
	known   []*Row // by item; nil: there is none
	version int64  // the stream's, of which known is true

	inserts, updates []Row
	seen             []int64
	result           Result
}

// write does everything that costs time before the transaction, against what is stored now, and in it only what has become
// untrue meanwhile, which the version tells.
func (w *writer) write(ctx context.Context) error {
	store := w.service.opts.Store
	now := micros(w.service.opts.Now())
	var err error
	if w.state, err = store.OpenStream(ctx, w.stream, now); err != nil {
		return err
	}
	if err := w.read(ctx); err != nil {
		return err
	}
	if err := w.plan(now); err != nil {
		return err
	}
	if !w.changes() {
		return nil
	}
	return store.Write(ctx, func(ctx context.Context) error {
		locked, err := store.LockStream(ctx, w.state.ID)
		if err != nil {
			return err
		}
		stale := locked.Version != w.version
		w.state = locked
		if stale {
			if err := w.read(ctx); err != nil {
				return err
			}
		}
		if err := w.plan(now); err != nil {
			return err
		}
		return w.store(ctx, now)
	})
}

// read gets what is stored of the batch's records.
func (w *writer) read(ctx context.Context) error {
	ids := make([]string, len(w.batch.items))
	for i := range w.batch.items {
		ids[i] = w.batch.items[i].id
		if w.op == updating {
			w.batch.items[i].sealed = nil // it was made from what is stored
		}
	}
	rows, err := w.service.opts.Store.Rows(ctx, w.state.ID, ids, w.op == updating)
	if err != nil {
		return err
	}
	w.known, w.version = make([]*Row, len(ids)), w.state.Version
	for i := range rows {
		if at, ok := w.batch.at[rows[i].ExternalID]; ok {
			w.known[at] = &rows[i]
		}
	}
	return nil
}

// decide tells what becomes of a record.
func (w *writer) decide(it *item, known *Row) action {
	act := w.want(it, known)
	if act == leave || known == nil || w.merge.Strategy != IgnoreIfModifiedAfter || w.merge.Cursor.IsZero() {
		return act
	}
	if known.Updated > w.merge.Cursor.micros() {
		return protect
	}
	return act
}

func (w *writer) want(it *item, known *Row) action {
	same := known != nil && string(known.Hash) == string(it.hash)
	switch w.op {
	case updating:
		if known == nil || known.Deleted != 0 || same || string(known.Hash) == string(it.whole) {
			return leave
		}
		return change
	case deleting:
		switch {
		case known == nil:
			return bury
		case known.Deleted == 0:
			return remove
		case it.deletedAt == known.Deleted && (it.bare || same):
			return leave
		}
		return rebury
	case saving:
		switch {
		case known == nil:
			return insert
		case known.Deleted != 0:
			return revive
		case !same:
			return change
		case known.Pruned != 0:
			return restore
		}
	}
	return leave
}

// plan turns the decisions into rows and counts, starting over each time it is called.
func (w *writer) plan(now int64) error {
	w.inserts, w.updates, w.seen = w.inserts[:0], w.updates[:0], w.seen[:0]
	w.result = Result{Duplicates: w.batch.duplicates, NextMerge: w.merge}
	clock := w.state.Clock
	for i := range w.batch.items {
		it, known := &w.batch.items[i], w.known[i]
		act := w.decide(it, known)
		w.count(act, it.id)
		if act == leave || act == protect {
			if known != nil && known.Generation < w.run.Generation && w.op != updating {
				w.seen = append(w.seen, known.ID)
			}
			continue
		}
		row, err := w.row(act, it, known, max(now, clock+1))
		if err != nil {
			return err
		}
		if act != restore {
			clock = row.Updated
		}
		w.adopt(act, row, known)
	}
	if clock != w.state.Clock && w.merge.Strategy == IgnoreIfModifiedAfter {
		w.advance(clock)
	}
	w.state.Clock = clock
	return nil
}

// advance moves the merge cursor to the last record that this batch changed.
func (w *writer) advance(clock int64) {
	for _, rows := range [][]Row{w.inserts, w.updates} {
		for i := range rows {
			if rows[i].Updated == clock {
				w.result.NextMerge.Cursor = w.stream.cursor(&rows[i])
			}
		}
	}
}

func (w *writer) count(act action, id string) {
	r := &w.result
	switch act {
	case insert, revive:
		r.Added++
	case change:
		r.Updated++
	case remove:
		r.Deleted++
	case leave, restore:
		if w.op != updating {
			r.Unchanged++
		}
		return
	case protect:
		r.Skipped++
		return
	case bury, rebury:
		return
	}
	if len(r.Keys) < maxKeys {
		r.Keys = append(r.Keys, id)
	}
}

// row makes the row to be stored. at is the time of its change.
func (w *writer) row(act action, it *item, known *Row, at int64) (Row, error) {
	row := Row{ExternalID: it.id, Created: at}
	if known != nil {
		row = *known
		row.Payload = nil
	}
	row.Generation = max(row.Generation, w.run.Generation)
	if act != restore {
		row.Updated = at
	}
	if act == revive {
		row.Created, row.Deleted = at, 0
	}
	if w.op == deleting {
		row.Deleted = at
		if it.deletedAt != 0 {
			row.Deleted = it.deletedAt
		}
		if it.bare && known != nil {
			return row, nil // it keeps what it had
		}
	}
	if err := w.fill(it, known); err != nil {
		return row, err
	}
	row.Hash, row.Pruned, row.Size, row.Payload = it.hash, 0, int64(len(it.payload)), it.sealed
	return row, nil
}

// fill seals an item's payload, once; for an update it is made from what is stored.
func (w *writer) fill(it *item, known *Row) (err error) {
	if it.sealed != nil {
		return nil
	}
	if w.op == updating {
		base := []byte("{}")
		if len(known.Payload) > 0 {
			if base, err = w.service.open(known.Payload, w.state.ID, it.id); err != nil {
				return err
			}
		}
		var partial []byte
		if partial, err = withTextID(it.text, it.id); err != nil {
			return err
		}
		if it.payload, err = overlay(base, partial); err != nil {
			return err
		}
	}
	it.sealed, err = w.service.seal(it.payload, w.state.ID, it.id)
	return err
}

// adopt puts a row among those to be written and accounts for it in its stream.
func (w *writer) adopt(act action, row Row, known *Row) {
	if row.Deleted == 0 {
		w.state.Live++
	}
	if known != nil && known.Deleted == 0 {
		w.state.Live--
	}
	if act == restore {
		w.state.PrunedTo = min(w.state.PrunedTo, row.Updated-1)
	}
	w.state.Size += row.Size
	if known == nil {
		w.inserts = append(w.inserts, row)
		return
	}
	w.state.Size -= known.Size
	w.updates = append(w.updates, row)
}

func (w *writer) changes() bool { return len(w.inserts)+len(w.updates)+len(w.seen) > 0 }

// touchEvery is how exactly StreamState.Touched is kept: it is asked for after days, and writing it costs each batch.
const touchEvery = int64(time.Hour / time.Microsecond)

func (w *writer) store(ctx context.Context, now int64) error {
	store := w.service.opts.Store
	if len(w.inserts) > 0 {
		if err := store.Insert(ctx, w.state.ID, w.inserts); err != nil {
			return err
		}
	}
	if len(w.updates) > 0 {
		if err := store.Update(ctx, w.updates); err != nil {
			return err
		}
	}
	if len(w.seen) > 0 {
		slices.Sort(w.seen) // in one order, and that of the pages
		if err := store.Mark(ctx, w.seen, w.run.Generation); err != nil {
			return err
		}
	}
	written := len(w.inserts)+len(w.updates) > 0
	if !written && now-w.state.Touched < touchEvery {
		return nil
	}
	if written {
		w.state.Version++
	}
	w.state.Touched = max(w.state.Touched, now)
	return store.SaveStream(ctx, w.state)
}
