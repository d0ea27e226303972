package logstore

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

var loadOperation = engine.SQL(`SELECT num, record FROM logs_operations WHERE day = $1 AND id = $2 AND environment_id = $3`)

// Load is Operation, as package oplog calls it.
func (s *Store) Load(ctx context.Context, environmentID int64, id string) (oplog.Record, error) {
	return s.Operation(ctx, environmentID, id)
}

// Operation finds an operation by its id; oplog.ErrNotFound when it never was in the environment or its day is gone.
func (s *Store) Operation(ctx context.Context, environmentID int64, id string) (oplog.Record, error) {
	_, _, r, err := s.find(ctx, environmentID, id)
	return r, err
}

func (s *Store) find(ctx context.Context, environmentID int64, id string) (d day, num int64, r oplog.Record, err error) {
	d, ok := dayOfID(id)
	if !ok {
		return 0, 0, r, oplog.ErrNotFound
	}
	if err := s.Flush(ctx); err != nil {
		return 0, 0, r, err
	}
	var data []byte
	err = s.days.read(ctx, d, func(ctx context.Context, db *engine.DB) error {
		return db.QueryRow(ctx, loadOperation, int64(d), column(id), environmentID).Scan(&num, &data)
	})
	if errors.Is(err, errNoDay) || errors.Is(err, sql.ErrNoRows) {
		return 0, 0, r, oplog.ErrNotFound
	}
	if err == nil {
		r, err = s.codec.record(data)
	}
	if err != nil {
		return 0, 0, r, fmt.Errorf("read operation %s: %w", id, err)
	}
	return d, num, r, nil
}

// statements caches the texts of searches, of which there are as many as there are combinations of filters.
type statements struct{ byText sync.Map }

func (t *statements) get(lite, pg string) *engine.Query {
	if q, ok := t.byText.Load(pg); ok {
		return q.(*engine.Query) //nolint:forcetypeassert // nothing else is stored
	}
	q, _ := t.byText.LoadOrStore(pg, engine.SQLPair(lite, pg))
	return q.(*engine.Query) //nolint:forcetypeassert // as above
}

// filter is the condition of a search, in the words of both engines. Its first argument is the day.
type filter struct {
	lite, pg strings.Builder
	args     []any
}

func (f *filter) arg(v any) string {
	f.args = append(f.args, v)
	return "$" + strconv.Itoa(len(f.args))
}

func (f *filter) add(text string) {
	f.lite.WriteString(text)
	f.pg.WriteString(text)
}

func (f *filter) and(condition string, v any) { f.add(" AND " + condition + f.arg(v)) }

// oneOf is column = value, which an index can follow in order, or a list.
func (f *filter) oneOf(column string, values []string) string {
	if len(values) == 1 {
		return column + " = " + f.arg(values[0])
	}
	return column + " {in " + f.arg(engine.List[string](values)) + "}"
}

func (f *filter) andOneOf(column string, values []string) {
	if len(values) > 0 {
		f.add(" AND " + f.oneOf(column, values))
	}
}

// match keeps the operations that hold the term in one of their chunks.
func (f *filter) match(t term, postgres bool) {
	place := f.arg(t.fts())
	if postgres {
		f.args[len(f.args)-1] = t.tsquery()
	}
	f.lite.WriteString(" AND num IN (SELECT rowid >> 20 FROM logs_terms WHERE logs_terms MATCH " + place + ")")
	// As an array it is worked out first; as a list the planner would look for each operation in the wrong index.
	f.pg.WriteString(" AND num = ANY (ARRAY(SELECT id >> 20 FROM logs_chunks WHERE day = $1 AND words @@ CAST(" + place +
		"::text AS tsquery)))")
}

func (s *Store) filter(q *oplog.Query) (*filter, error) {
	terms, err := terms(q.Text)
	if err != nil {
		return nil, err
	}
	f := &filter{}
	// A file holds one day. The plus keeps SQLite from walking through all operations of the environment when the text index
	// gives the few that count.
	_ = f.arg(int64(0))
	environment := f.arg(q.EnvironmentID)
	f.pg.WriteString("day = $1 AND environment_id = " + environment)
	if len(terms) > 0 {
		f.lite.WriteString("+")
	}
	f.lite.WriteString("environment_id = " + environment)
	var types, kinds []string
	for _, t := range q.Types {
		if strings.Contains(t, ":") {
			kinds = append(kinds, t)
		} else {
			types = append(types, t)
		}
	}
	if len(types) > 0 && len(kinds) > 0 {
		f.add(" AND (" + f.oneOf("type", types) + " OR " + f.oneOf("kind", kinds) + ")")
	} else {
		f.andOneOf("type", types)
		f.andOneOf("kind", kinds)
	}
	states := make([]string, len(q.States))
	for i, state := range q.States {
		states[i] = string(state)
	}
	f.andOneOf("state", states)
	f.andOneOf("integration", q.Integrations)
	f.andOneOf("connection", q.Connections)
	f.andOneOf("function", q.Functions)
	if !q.From.IsZero() {
		f.and("created_at >= ", engine.Micros(q.From))
	}
	if !q.To.IsZero() {
		f.and("created_at < ", engine.Micros(q.To))
	}
	for _, t := range terms {
		f.match(t, s.postgres())
	}
	return f, nil
}

// on runs a statement, made of what stands before and after the condition, on one day. scan is called for each row.
func (s *Store) on(ctx context.Context, d day, f *filter, before, after string, scan func(row engine.Scanner) error) error {
	statement := s.texts.get(before+f.lite.String()+after, before+f.pg.String()+after)
	args := slices.Clone(f.args)
	args[0] = int64(d)
	err := s.days.read(ctx, d, func(ctx context.Context, db *engine.DB) error {
		_, err := engine.Collect(func(row engine.Scanner) (struct{}, error) { return struct{}{}, scan(row) })(db.Query(ctx, statement, args...))
		return err
	})
	if errors.Is(err, errNoDay) {
		return nil
	}
	return err
}

// position is a place in the order of operations: by the time of their start, then by number.
type position struct{ created, num int64 }

func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", p.created, p.num))
}

func parseCursor(cursor string) (first, second int64, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return 0, 0, oplog.ErrCursor.Because(err)
	}
	a, b, _ := strings.Cut(string(raw), ".")
	if first, err = strconv.ParseInt(a, 10, 64); err != nil || first < 0 {
		return 0, 0, oplog.ErrCursor.Because(err)
	}
	if second, err = strconv.ParseInt(b, 10, 64); err != nil || second < 0 {
		return 0, 0, oplog.ErrCursor.Because(err)
	}
	return first, second, nil
}

func pageSize(limit int) int {
	if limit <= 0 {
		return oplog.DefaultLimit
	}
	return min(limit, oplog.MaxLimit)
}

// within gives the days that may hold what the query asks for, newest first.
func (s *Store) within(ctx context.Context, q *oplog.Query) ([]day, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	kept, err := s.days.list(ctx)
	if err != nil {
		return nil, err
	}
	slices.Reverse(kept)
	oldest := s.oldest()
	return slices.DeleteFunc(kept, func(d day) bool {
		return d < oldest || !q.From.IsZero() && d < dayOf(q.From) || !q.To.IsZero() && !d.start().Before(q.To)
	}), nil
}

// Operations finds operations, newest first. A cursor stays good while operations are added.
func (s *Store) Operations(ctx context.Context, q oplog.Query) (oplog.Page, error) {
	f, err := s.filter(&q)
	if err != nil {
		return oplog.Page{}, err
	}
	var after position
	if q.Cursor != "" {
		if after.created, after.num, err = parseCursor(q.Cursor); err != nil {
			return oplog.Page{}, err
		}
	}
	kept, err := s.within(ctx, &q)
	if err != nil {
		return oplog.Page{}, err
	}
	listed, err := s.filter(&q)
	if err != nil {
		return oplog.Page{}, err
	}
	if q.Cursor != "" {
		listed.add(" AND (created_at, num) < (" + listed.arg(after.created) + ", " + listed.arg(after.num) + ")")
	}
	listed.args = append(listed.args, 0) // how many rows are still wanted
	order := " ORDER BY created_at DESC, num DESC LIMIT $" + strconv.Itoa(len(listed.args))
	page := oplog.Page{Records: []oplog.Record{}}
	limit := pageSize(q.Limit)
	var places []position
	for _, d := range kept {
		wanted, before := limit+1-len(page.Records), len(page.Records)
		if wanted > 0 && (q.Cursor == "" || d <= dayOf(engine.Time(after.created))) {
			listed.args[len(listed.args)-1] = wanted
			err := s.on(ctx, d, listed, "SELECT num, created_at, record FROM logs_operations WHERE ", order, func(row engine.Scanner) error {
				var p position
				var data []byte
				if err := row.Scan(&p.num, &p.created, &data); err != nil {
					return err
				}
				r, err := s.codec.record(data)
				page.Records, places = append(page.Records, r), append(places, p)
				return err
			})
			if err != nil {
				return oplog.Page{}, fmt.Errorf("search operations of %s: %w", d, err)
			}
			if found := len(page.Records) - before; found < wanted && q.Cursor == "" { // they are all of this day
				page.Total += found
				continue
			}
		}
		n, err := s.count(ctx, d, f)
		if err != nil {
			return oplog.Page{}, err
		}
		page.Total += n
	}
	if len(page.Records) > limit {
		page.Records, page.Cursor = page.Records[:limit], places[limit-1].cursor()
	}
	return page, nil
}

func (s *Store) count(ctx context.Context, d day, f *filter) (n int, err error) {
	err = s.on(ctx, d, f, "SELECT COUNT(*) FROM logs_operations WHERE ", "", func(row engine.Scanner) error { return row.Scan(&n) })
	if err != nil {
		return 0, fmt.Errorf("count operations of %s: %w", d, err)
	}
	return n, nil
}

// Histogram counts the operations that pass the filter by state and by the span in which they began; spans are multiples of
// bucket since 1970, those without operations are left out. The limit and cursor of q are ignored.
func (s *Store) Histogram(ctx context.Context, q oplog.Query, bucket time.Duration) ([]oplog.Bucket, error) {
	f, err := s.filter(&q)
	if err != nil {
		return nil, err
	}
	kept, err := s.within(ctx, &q)
	if err != nil {
		return nil, err
	}
	size := max(bucket.Microseconds(), 1)
	span := "created_at / CAST(" + f.arg(size) + " AS BIGINT)"
	counts := map[int64]map[oplog.State]int{}
	for _, d := range kept {
		err := s.on(ctx, d, f, "SELECT "+span+", state, COUNT(*) FROM logs_operations WHERE ", " GROUP BY 1, 2", func(row engine.Scanner) error {
			var start int64
			var state oplog.State
			var n int
			err := row.Scan(&start, &state, &n)
			if counts[start] == nil {
				counts[start] = map[oplog.State]int{}
			}
			counts[start][state] += n
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("count operations of %s: %w", d, err)
		}
	}
	all := []oplog.Bucket{}
	for start, states := range counts {
		all = append(all, oplog.Bucket{Start: time.UnixMicro(start * size).UTC(), Counts: states})
	}
	slices.SortFunc(all, func(a, b oplog.Bucket) int { return a.Start.Compare(b.Start) })
	return all, nil
}
