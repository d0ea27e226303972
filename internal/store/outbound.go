package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Outbound implements outbound.Store.
type Outbound struct{ *Store }

// Outbound gives the SQL of deliveries.
func (s *Store) Outbound() Outbound { return Outbound{s} }

const (
	deliveryColumns = `id, event_id, environment_id, connection_id, connection_name, integration, type, url, body, operation_id,
		state, attempts, created_at, ended_at`
	// manyDeliveries is how many a list without a limit gives.
	manyDeliveries = 100
)

var (
	insertDelivery = engine.SQL(`INSERT INTO deliveries (` + deliveryColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`)
	getDelivery   = engine.SQL(`SELECT ` + deliveryColumns + ` FROM deliveries WHERE id = $1`)
	beginAttempt  = engine.SQL(`UPDATE deliveries SET attempts = $2 WHERE id = $1 AND attempts = $2 - 1 AND state = 'pending'`)
	insertAttempt = engine.SQL(`INSERT INTO delivery_attempts (delivery_id, number, started_at, duration_us, status, headers, body, error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`)
	endDelivery = engine.SQL(`UPDATE deliveries SET state = $2, ended_at = $3 WHERE id = $1`)
	// lockEvent makes two deliveries of an event end one after the other, so that the second sees the first.
	lockEvent = engine.SQLPair(`SELECT COUNT(*) FROM deliveries WHERE event_id = $1`,
		`SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE event_id = $1 ORDER BY id FOR UPDATE) AS locked`)
	eventOutcome = engine.SQL(`SELECT COALESCE(SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), 0),
			COALESCE(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0)
		FROM deliveries WHERE event_id = $1`)
	listDeliveries = engine.SQL(`SELECT ` + deliveryColumns + ` FROM deliveries WHERE environment_id = $1
			AND ($2 = '' OR state = $2) AND ($3 = '' OR type = $3) AND ($4 = '' OR connection_name = $4) AND ($5 = 0 OR created_at < $5)
		ORDER BY created_at DESC, id DESC LIMIT $6`)
	listAttempts = engine.SQL(`SELECT a.delivery_id, a.number, a.started_at, a.duration_us, a.status, a.headers, a.body, a.error
		FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id
		WHERE d.environment_id = $1 AND d.id = $2
		ORDER BY a.started_at, a.number`)
	dropDeliveries = engine.SQL(`DELETE FROM deliveries WHERE id IN
			(SELECT id FROM deliveries WHERE state <> 'pending' AND ended_at < $1 ORDER BY ended_at LIMIT $2)`)
	reopenDelivery = engine.SQL(`UPDATE deliveries SET state = 'pending', attempts = 0, ended_at = 0
		WHERE environment_id = $1 AND id = $2 AND state <> 'pending'`)
)

// InsertDelivery implements outbound.Store.
func (s Outbound) InsertDelivery(ctx context.Context, d outbound.Delivery) error {
	_, err := s.core.Exec(ctx, insertDelivery, d.ID, d.EventID, d.EnvironmentID, d.ConnectionID, d.ConnectionName, d.Integration, d.Type, d.URL, d.Body,
		d.OperationID, string(d.State), d.Attempts, engine.Micros(d.CreatedAt), engine.Micros(d.EndedAt))
	return err
}

// Delivery implements outbound.Store.
func (s Outbound) Delivery(ctx context.Context, id string) (outbound.Delivery, error) {
	d, err := scanDelivery(s.core.QueryRow(ctx, getDelivery, id))
	if errors.Is(err, sql.ErrNoRows) {
		return d, outbound.ErrNotFound
	}
	return d, err
}

// BeginAttempt implements outbound.Store.
func (s Outbound) BeginAttempt(ctx context.Context, id string, number int) (bool, error) {
	n, err := s.core.Exec(ctx, beginAttempt, id, number)
	return n == 1, err
}

// InsertAttempt implements outbound.Store.
func (s Outbound) InsertAttempt(ctx context.Context, a outbound.Attempt) error {
	_, err := s.core.Exec(ctx, insertAttempt, a.DeliveryID, a.Number, engine.Micros(a.StartedAt), a.Duration.Microseconds(),
		a.Status, jsonText(a.Headers), a.Body, a.Error)
	return err
}

// EndDelivery implements outbound.Store. The event's other deliveries may end at the same time elsewhere; each sees its own end,
// and the event is over for whoever sees none pending.
func (s Outbound) EndDelivery(ctx context.Context, d outbound.Delivery, state outbound.State, now time.Time) (pending, failed int, err error) {
	err = s.core.Write(ctx, func(ctx context.Context) error {
		var deliveries int
		if err := s.core.QueryRow(ctx, lockEvent, d.EventID).Scan(&deliveries); err != nil {
			return err
		}
		if _, err := s.core.Exec(ctx, endDelivery, d.ID, string(state), engine.Micros(now)); err != nil {
			return err
		}
		return s.core.QueryRow(ctx, eventOutcome, d.EventID).Scan(&pending, &failed)
	})
	return pending, failed, err
}

// Deliveries implements outbound.Store.
func (s Outbound) Deliveries(ctx context.Context, environmentID int64, f outbound.Filter) ([]outbound.Delivery, error) {
	if f.Limit == 0 {
		f.Limit = manyDeliveries
	}
	return engine.Collect(scanDelivery)(s.core.Query(ctx, listDeliveries, environmentID,
		string(f.State), f.Type, f.Connection, engine.Micros(f.Before), f.Limit))
}

// Attempts implements outbound.Store.
func (s Outbound) Attempts(ctx context.Context, environmentID int64, deliveryID string) ([]outbound.Attempt, error) {
	return engine.Collect(scanAttempt)(s.core.Query(ctx, listAttempts, environmentID, deliveryID))
}

// Reopen implements outbound.Store.
func (s Outbound) Reopen(ctx context.Context, environmentID int64, id string) (outbound.Delivery, error) {
	n, err := s.core.Exec(ctx, reopenDelivery, environmentID, id)
	if err != nil {
		return outbound.Delivery{}, fmt.Errorf("reopen a delivery: %w", err)
	}
	if n == 0 {
		return outbound.Delivery{}, outbound.ErrNotFound
	}
	return s.Delivery(ctx, id)
}

// DropDeliveries implements outbound.Store.
func (s Outbound) DropDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.core.Exec(ctx, dropDeliveries, engine.Micros(before), limit)
	return int(n), err
}

func scanDelivery(row engine.Scanner) (outbound.Delivery, error) {
	var d outbound.Delivery
	var created, ended int64
	err := row.Scan(&d.ID, &d.EventID, &d.EnvironmentID, &d.ConnectionID, &d.ConnectionName, &d.Integration, &d.Type, &d.URL, &d.Body, &d.OperationID,
		&d.State, &d.Attempts, &created, &ended)
	d.CreatedAt, d.EndedAt = engine.Time(created), engine.Time(ended)
	return d, err
}

func scanAttempt(row engine.Scanner) (outbound.Attempt, error) {
	var a outbound.Attempt
	var started, duration int64
	var headers string
	if err := row.Scan(&a.DeliveryID, &a.Number, &started, &duration, &a.Status, &headers, &a.Body, &a.Error); err != nil {
		return a, err
	}
	a.StartedAt, a.Duration = engine.Time(started), time.Duration(duration)*time.Microsecond
	return a, json.Unmarshal([]byte(headers), &a.Headers)
}
