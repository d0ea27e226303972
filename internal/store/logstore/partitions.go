package logstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// partitionLock is the PostgreSQL advisory lock under which partitions are made and dropped: two nodes that make the same one
// would fail at each other.
const partitionLock = 0x706c6f67 // "plog"

// parents are the tables that have a partition per day, named PARENT_YYYYMMDD.
var parents = []string{"logs_operations", "logs_chunks"}

var (
	partitionsLock = engine.SQL(`SELECT pg_advisory_xact_lock($1)`)
	partitionsList = engine.SQL(`SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = CAST('logs_operations' AS regclass)`)
	partitionsSize = engine.SQL(`SELECT COALESCE(SUM(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM unnest($1::text[]) AS name`)
)

// partitions keeps each day in a partition of each table.
type partitions struct {
	db *engine.DB

	mu    sync.Mutex
	known map[day]bool // partitions that were there when last looked at
}

func newPartitions(db *engine.DB) *partitions { return &partitions{db: db, known: map[day]bool{}} }

func (p *partitions) list(ctx context.Context) ([]day, error) {
	names, err := engine.Collect(func(row engine.Scanner) (string, error) {
		var name string
		err := row.Scan(&name)
		return name, err
	})(p.db.Query(ctx, partitionsList))
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	var all []day
	for _, name := range names {
		if d, ok := parseDay(strings.TrimPrefix(name, parents[0]+"_")); ok {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (p *partitions) write(ctx context.Context, d day, fn func(context.Context, *engine.DB) error) error {
	if err := p.prepare(ctx, d); err != nil {
		return err
	}
	err := p.db.Write(ctx, func(ctx context.Context) error { return fn(ctx, p.db) })
	if err != nil { // maybe another node has dropped it
		p.forget(d)
	}
	return err
}

func (p *partitions) forget(d day) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, d)
}

func (p *partitions) read(ctx context.Context, _ day, fn func(context.Context, *engine.DB) error) error {
	return fn(ctx, p.db)
}

func (p *partitions) prepare(ctx context.Context, d day) error {
	p.mu.Lock()
	known := p.known[d]
	p.mu.Unlock()
	if known {
		return nil
	}
	err := p.db.Write(ctx, func(ctx context.Context) error {
		if _, err := p.db.Exec(ctx, partitionsLock, partitionLock); err != nil {
			return err
		}
		for _, parent := range parents {
			create := fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s_%s PARTITION OF %s FOR VALUES FROM (%d) TO (%d)`, parent, d, parent, d, d+1)
			if _, err := p.db.Exec(ctx, engine.SQL(create)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the partitions of %s: %w", d, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[d] = true
	return nil
}

func (p *partitions) drop(ctx context.Context, d day) error {
	p.forget(d)
	return p.db.Write(ctx, func(ctx context.Context) error {
		if _, err := p.db.Exec(ctx, partitionsLock, partitionLock); err != nil {
			return err
		}
		for _, parent := range parents {
			if _, err := p.db.Exec(ctx, engine.SQL(fmt.Sprintf(`DROP TABLE IF EXISTS %s_%s`, parent, d))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *partitions) size(ctx context.Context, d day) (int64, error) {
	names := make(engine.List[string], len(parents))
	for i, parent := range parents {
		names[i] = parent + "_" + d.String()
	}
	var total int64
	err := p.db.QueryRow(ctx, partitionsSize, names).Scan(&total)
	return total, err
}

func (p *partitions) rest(time.Time) error { return nil }

// close leaves the database to its owner.
func (p *partitions) close() error { return nil }
