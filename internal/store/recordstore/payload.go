package recordstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// recordPayloads is the sealed column of the records. A payload is identified by its stream and external id, which the caller
// knows before the row is inserted; see record.PayloadID.
type recordPayloads struct{ db *engine.DB }

var _ vault.Sealed = recordPayloads{}

// Payloads is the sealed column of the records in db.
func Payloads(db *engine.DB) vault.Sealed { return recordPayloads{db} }

var (
	sealedPayloads = engine.SQL(`SELECT r.stream_id, r.external_id, p.payload FROM records r JOIN record_payloads p ON p.record_id = r.id
		WHERE (r.stream_id, r.external_id) > ($1, $2) ORDER BY r.stream_id, r.external_id LIMIT $3`)
	replacePayload = engine.SQL(`UPDATE record_payloads SET payload = $4
		WHERE record_id = (SELECT id FROM records WHERE stream_id = $1 AND external_id = $2) AND payload = $3`)
)

// Place implements vault.Sealed.
func (recordPayloads) Place() (table, column string) { return "record_payloads", "payload" }

// Batch implements vault.Sealed.
func (p recordPayloads) Batch(ctx context.Context, after string, limit int) ([]vault.SealedRow, error) {
	var streamID int64
	var externalID string
	if after != "" {
		var err error
		if streamID, externalID, err = payloadOwner(after); err != nil {
			return nil, err
		}
	}
	table, column := p.Place()
	return engine.Collect(func(row engine.Scanner) (vault.SealedRow, error) {
		one := vault.SealedRow{Context: vault.Context{Table: table, Column: column}}
		var streamID int64
		var externalID string
		err := row.Scan(&streamID, &externalID, &one.Sealed)
		one.Context.ID = record.PayloadID(streamID, externalID)
		return one, err
	})(p.db.Query(ctx, sealedPayloads, streamID, externalID, limit))
}

// Replace implements vault.Sealed.
func (p recordPayloads) Replace(ctx context.Context, row vault.SealedRow, sealed []byte) (bool, error) {
	streamID, externalID, err := payloadOwner(row.Context.ID)
	if err != nil {
		return false, err
	}
	n, err := p.db.Exec(ctx, replacePayload, streamID, externalID, row.Sealed, sealed)
	return n == 1, err
}

// payloadOwner reverses record.PayloadID.
func payloadOwner(id string) (streamID int64, externalID string, err error) {
	stream, externalID, found := strings.Cut(id, "/")
	if streamID, err = strconv.ParseInt(stream, 10, 64); err != nil || !found {
		return 0, "", fmt.Errorf("%q is not the id of a payload", id)
	}
	return streamID, externalID, nil
}
