package logstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// chunkBits is how many low bits of a chunk's id count the chunks of its operation.
const chunkBits = 20

// conflictTries is how often a chunk looks for a free number. Only other nodes that write the same operation take one.
const conflictTries = 16

var (
	saveOperation = engine.SQL(`INSERT INTO logs_operations
		(day, id, environment_id, created_at, type, kind, state, integration, connection, function, expires_at, written_at, record)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (day, id) DO UPDATE SET state = excluded.state, integration = excluded.integration, connection = excluded.connection,
			function = excluded.function, expires_at = excluded.expires_at, written_at = excluded.written_at, record = excluded.record
		WHERE logs_operations.environment_id = excluded.environment_id
		RETURNING num`)
	numberOfOperation = engine.SQL(`SELECT num FROM logs_operations WHERE day = $1 AND id = $2 AND environment_id = $3`)
	lastChunk         = engine.SQL(`SELECT COALESCE(MAX(id), 0) FROM logs_chunks WHERE day = $1 AND id > $2 AND id < $3`)
	// The words of a chunk are a column on PostgreSQL and a row of the text index on SQLite.
	addChunk = engine.SQLPair(
		`INSERT INTO logs_chunks (day, id, written_at, messages, data) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		`INSERT INTO logs_chunks (day, id, written_at, messages, data, words)
			VALUES ($1, $2, $3, $4, $5, CAST($6::text AS tsvector)) ON CONFLICT DO NOTHING`)
	addWords = engine.SQL(`INSERT INTO logs_terms (rowid, words) VALUES ($1, $2)`)
)

// chunk is some messages of an operation, ready to be written.
type chunk struct {
	messages int
	data     []byte
	words    string
}

// prepared is an entry with everything encoded, so that little is done while the only writer is held.
type prepared struct {
	*entry

	day    day
	row    []byte
	chunks []chunk
	fields uint64 // hash of the searchable fields of the row

	num int64 // set by the transaction
	seq int64
}

// operations remembers of operations that may get more messages where these go. It is a cache: what is forgotten is looked up.
type operations struct {
	mu   sync.Mutex
	byID map[string]operation
}

type operation struct {
	num, seq int64
	fields   uint64
}

// operationsKept bounds the cache; when it is full it is emptied.
const operationsKept = 20_000

func (o *operations) get(id string) (operation, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	one, ok := o.byID[id]
	return one, ok
}

func (o *operations) put(p *prepared) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.record.EndedAt != nil {
		delete(o.byID, p.record.ID)
		return
	}
	if o.byID == nil || len(o.byID) >= operationsKept {
		o.byID = map[string]operation{}
	}
	o.byID[p.record.ID] = operation{p.num, p.seq, p.fields}
}

func (o *operations) forget(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, id)
}

// write writes entries, those of a day in one transaction. What failed before is written on its own, so that it takes
// nothing with it. It returns what was not written.
func (s *Store) write(ctx context.Context, entries []*entry) (failed []*entry, err error) {
	byDay := map[day][]*prepared{}
	var order []day
	var alone []*prepared
	oldest := s.oldest()
	for _, e := range entries {
		d, ok := dayOfID(e.record.ID)
		if !ok || d < oldest {
			s.queue.mu.Lock()
			s.queue.lose(e.save, len(e.messages))
			s.queue.mu.Unlock()
			continue
		}
		p, problem := s.prepare(d, e)
		switch {
		case problem != nil:
			failed, err = append(failed, e), errors.Join(err, problem)
		case e.tries > 0:
			alone = append(alone, p)
		default:
			if byDay[d] == nil {
				order = append(order, d)
			}
			byDay[d] = append(byDay[d], p)
		}
	}
	batch := func(d day, all []*prepared) {
		if problem := s.writeBatch(ctx, d, all); problem != nil {
			err = errors.Join(err, problem)
			for _, p := range all {
				failed = append(failed, p.entry)
				s.known.forget(p.record.ID)
			}
			return
		}
		for _, p := range all {
			s.known.put(p)
			if !s.postgres() {
				s.bus.publish(oplog.Event{Record: p.record, Messages: p.messages})
			}
		}
	}
	for _, p := range alone {
		batch(p.day, []*prepared{p})
	}
	for _, d := range order {
		batch(d, byDay[d])
	}
	return failed, err
}

// prepare encodes an entry. The fields of the row are searchable through the first chunk, when they have changed.
func (s *Store) prepare(d day, e *entry) (*prepared, error) {
	p := &prepared{entry: e, day: d}
	known, found := s.known.get(e.record.ID)
	p.fields = known.fields
	var err error
	var words document
	if e.save || !found {
		if p.row, err = s.codec.encode(e.record); err != nil {
			return nil, fmt.Errorf("encode operation %s: %w", e.record.ID, err)
		}
		words.addRecord(&e.record)
		if p.fields = maphash.String(seed, words.String()); p.fields == known.fields && found {
			words = document{}
		}
	}
	start := 0
	for i := range e.messages {
		words.addMessage(&e.messages[i])
		if words.words >= documentLimit/2 || i == len(e.messages)-1 {
			data, err := s.codec.encode(e.messages[start : i+1])
			if err != nil {
				return nil, fmt.Errorf("encode messages of operation %s: %w", e.record.ID, err)
			}
			p.chunks = append(p.chunks, chunk{i + 1 - start, data, words.String()})
			words, start = document{}, i+1
		}
	}
	if words.words > 0 {
		p.chunks = append(p.chunks, chunk{words: words.String(), data: []byte{}})
	}
	return p, nil
}

var seed = maphash.MakeSeed()

func (s *Store) writeBatch(ctx context.Context, d day, all []*prepared) error {
	err := s.days.write(ctx, d, func(ctx context.Context, db *engine.DB) error {
		for _, p := range all {
			if err := s.writeOperation(ctx, db, p); err != nil {
				return fmt.Errorf("operation %s: %w", p.record.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the logs of %s: %w", d, err)
	}
	return nil
}

func (s *Store) writeOperation(ctx context.Context, db *engine.DB, p *prepared) error {
	known, found := s.known.get(p.record.ID)
	p.num, p.seq = known.num, known.seq
	now := engine.Micros(s.opts.Now())
	if p.save || !found {
		if err := s.writeRow(ctx, db, p, now); err != nil {
			return err
		}
	}
	for _, c := range p.chunks {
		if err := writeChunk(ctx, db, p, c, now); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) writeRow(ctx context.Context, db *engine.DB, p *prepared, now int64) error {
	r := &p.record
	if !p.save { // messages of an operation that this process did not begin: the row that is there is newer
		err := db.QueryRow(ctx, numberOfOperation, int64(p.day), r.ID, r.EnvironmentID).Scan(&p.num)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return db.QueryRow(ctx, saveOperation, int64(p.day), r.ID, r.EnvironmentID, engine.Micros(r.CreatedAt), column(r.Kind.Type),
		column(r.Kind.Type+":"+r.Kind.Action), string(r.State), column(r.IntegrationName), column(r.ConnectionName), column(r.FunctionName),
		engine.Micros(r.ExpiresAt), now, p.row).Scan(&p.num)
}

func writeChunk(ctx context.Context, db *engine.DB, p *prepared, c chunk, now int64) error {
	first, next := p.num<<chunkBits, (p.num+1)<<chunkBits
	for range conflictTries {
		p.seq++
		id := first + p.seq
		if id >= next {
			return errors.New("an operation has too many messages")
		}
		args := []any{int64(p.day), id, now, c.messages, c.data}
		if db.Postgres() {
			args = append(args, vector(c.words))
		}
		n, err := db.Exec(ctx, addChunk, args...)
		if err != nil {
			return err
		}
		if n == 1 {
			if db.Postgres() {
				return nil
			}
			_, err := db.Exec(ctx, addWords, id, c.words)
			return err
		}
		var last int64
		if err := db.QueryRow(ctx, lastChunk, int64(p.day), first, next).Scan(&last); err != nil {
			return err
		}
		p.seq = last - first
	}
	return errors.New("no free number for a chunk")
}
