package store

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// plannedStatements are those that run often or meet long tables, each with arguments of the right types.
func plannedStatements() map[string]planned {
	ids, texts := engine.List[int64]{1, 2}, engine.List[string]{"k:a", "k:b"}
	insert := append(specArgs(queue.Spec{Queue: "default", Kind: "k"}), orNull("u"), nil, int64(1), int64(1))
	return map[string]planned{
		"insertReadyJob": {insertReadyJob, insert},
		"uniqueJob":      {uniqueJob, []any{"u"}},
		"jobsOfGroup":    {jobsOfGroup, []any{"g", 10}},
		"readyJobs":      {readyJobs, []any{"default", 10}},
		"takeJobs":       {takeJobs, []any{ids, int64(1), int64(1)}},
		"slotsTaken":     {slotsTaken, []any{texts}},
		"groupsTaken":    {groupsTaken, []any{texts}},
		"holdOnKeys":     {holdOnKeys, []any{ids}},
		"renewJobs":      {renewJobs, []any{ids, ids, int64(1)}},
		"guardJob":       {guardJob, []any{int64(1), int64(1), int64(1)}},
		"endSucceeded":   {endSucceeded, []any{ids, ids}},
		"endLater":       {endLater, []any{int64(1), int64(1), int64(1), 1, ""}},
		"endScheduled":   {endScheduled, []any{int64(1), int64(1), 2, int64(1), false}},
		"heldNames":      {heldNames, []any{texts}},
		"runningOfKey":   {runningOfKey, []any{"a"}},
		"runningOfGroup": {runningOfGroup, []any{"a"}},
		"letHeldGo":      {letHeldGo, []any{"k:a", 1, 1}},
		"whatIsDue":      {whatIsDue, nil},
		"promoteJobs":    {promoteJobs, []any{int64(1), 10}},
		"takeBackJobs":   {takeBackJobs, []any{int64(1), 10}},
		"dueSchedules":   {dueSchedules, []any{int64(1), 10}},
		"fireSchedules":  {fireSchedules, []any{ids, int64(1)}},
		"markSchedules":  {markSchedules, []any{ids, int64(1)}},
		"schedulesByKey": {schedulesByKey, []any{texts}},
		"listDeadJobs":   {listDeadJobs, []any{int64(1), int64(1), 10}},
		"pruneDeadByAge": {pruneDeadByAge, []any{int64(1)}},
		"pruneSchedules": {pruneSchedules, []any{int64(1)}},
	}
}

type planned struct {
	query *engine.Query
	args  []any
}

// tables are the names and aliases under which the statements know the tables; whatever else a plan scans is a list of
// arguments, or what the statement itself has found so far.
var (
	scans  = regexp.MustCompile(`SCAN (\w+)`)
	tables = map[string]bool{"jobs": true, "jobs_dead": true, "schedules": true, "h": true, "j": true, "m": true, "s": true}
)

// TestNoStatementOfTheQueueReadsAWholeTable plans each statement on SQLite, over tables with thousands of rows.
func TestNoStatementOfTheQueueReadsAWholeTable(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	fillQueue(t, s)
	for name, p := range plannedStatements() {
		plan := explain(t, s, p)
		if plan == "" {
			t.Errorf("%s: no plan", name)
		}
		if name == "whatIsDue" {
			continue // it takes the first entry of indexes that hold one state's rows
		}
		for _, m := range scans.FindAllStringSubmatch(plan, -1) {
			if tables[m[1]] {
				t.Errorf("%s reads a whole table: %s\n%s", name, m[0], plan)
			}
		}
	}
}

var anyOf = regexp.MustCompile(`= ANY\((\$\d+)\)`)

func explain(t *testing.T, s *Store, p planned) string {
	t.Helper()
	text := anyOf.ReplaceAllString(p.query.String(), "{in $1}") // String gives PostgreSQL's spelling
	text = strings.ReplaceAll(text, "FOR UPDATE SKIP LOCKED", "")
	if p.query == heldNames {
		text = `SELECT n.value FROM json_each($1) n WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.state = 3 AND j.held_on = n.value)`
	}
	rows, err := s.core.Query(t.Context(), engine.SQL("EXPLAIN QUERY PLAN "+text), p.args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	lines, err := engine.Collect(func(row engine.Scanner) (string, error) {
		var id, parent, unused int
		var line string
		err := row.Scan(&id, &parent, &unused, &line)
		return line, err
	})(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func fillQueue(t *testing.T, s *Store) {
	t.Helper()
	q, now := s.Queue(), time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	err := s.Write(t.Context(), func(ctx context.Context) error {
		for i := range 3000 {
			spec := queue.Spec{Queue: "default", Kind: "k", Args: "{}", Tenant: int64(i % 7), Key: fmt.Sprint(i % 50), KeyLimit: 1, Group: fmt.Sprint(i % 5), GroupLimit: 9}
			if _, _, err := q.Insert(ctx, now, queue.NewJob{Spec: spec, Unique: fmt.Sprint(i), RunAt: now.Add(time.Duration(i%3) * time.Second)}); err != nil {
				return err
			}
			if err := q.PutSchedule(ctx, now, queue.NewSchedule{Spec: spec, Key: fmt.Sprint(i), Period: time.Hour}); err != nil {
				return err
			}
		}
		_, err := q.Claim(ctx, queue.ClaimRequest{Queue: "default", Max: 500, Token: 1, Until: now.Add(time.Hour)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.core.Exec(t.Context(), engine.SQL("ANALYZE")); err != nil {
		t.Fatal(err)
	}
}
