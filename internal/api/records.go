package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Records is the records cache as clients use it.
type Records interface {
	Page(ctx context.Context, stream record.Stream, q record.PageQuery) (record.Page, error)
	Prune(ctx context.Context, stream record.Stream, until record.Cursor, limit int) (record.PruneResult, error)
}

const (
	// maxCursor is the length of a cursor; ours have some ninety characters.
	maxCursor = 1000
	// prunePage is how many records a prune takes if nobody says.
	prunePage = 1000
	// oldestChange is how far back modified_after may reach.
	oldestChange = 365 * 24 * time.Hour
)

func (s *Server) recordRoutes() {
	s.json(http.MethodGet, "/records", access{tenant.ScopeRecordsRead}, s.listRecords)
	s.json(http.MethodPatch, "/records/prune", access{tenant.ScopeRecordsWrite}, s.pruneRecords)
}

// recordStream finds the stream of a model of the connection that the headers name.
func (s *Server) recordStream(r *request, model, variant string) (record.Stream, error) {
	h := input.Headers(r.Header, "Connection-Id", "Provider-Config-Key")
	id := h.String("connection-id", input.ConnectionID)
	key := h.String("provider-config-key", input.IntegrationKey)
	if err := h.Err("invalid_headers"); err != nil {
		return record.Stream{}, err
	}
	i, err := s.opts.Integrations.Get(r.Context(), r.env(), key)
	if err == nil {
		var c *connection.Connection
		if c, err = s.opts.Connections.Get(r.Context(), i, id); err == nil {
			return record.Stream{EnvironmentID: r.env(), ConnectionID: c.ID, Model: record.FullModel(model, variant)}, nil
		}
	}
	if errors.Is(err, integration.ErrNotFound) || errors.Is(err, connection.ErrNotFound) {
		const message = "There is no connection %q of the integration %q"
		return record.Stream{}, errs.Newf(http.StatusBadRequest, "unknown_connection", message, id, key).Because(err)
	}
	return record.Stream{}, err
}

func (s *Server) listRecords(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	model, variant := q.String("model", input.Model), q.String("variant", input.Optional(input.Name))
	query := record.PageQuery{
		Cursor: readCursor(q, "cursor", false), Limit: q.Int("limit", record.DefaultPage, 1, record.MaxPage),
		Filter: readRecordFilter(q, "filter"), IDs: q.Strings("ids", input.Text{Min: 1, Max: 256}, record.MaxIDs),
		ModifiedAfter: readChange(q, "modified_after"),
	}
	if delta := readChange(q, "delta"); !delta.IsZero() { // the older name wins
		query.ModifiedAfter = delta
	}
	// The reader stops at the hundredth repetition of a key.
	if len(r.query()["ids"]) > record.MaxIDs {
		q.Issue("too_big", "Too big: expected array to have <=100 items", "ids")
	}
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	stream, err := s.recordStream(r, model, variant)
	if err != nil {
		return err
	}
	page, err := s.opts.Records.Page(r.Context(), stream, query)
	if err != nil {
		return err
	}
	writeRaw(w, http.StatusOK, recordPage(page))
	return nil
}

// recordPage puts records together that are JSON already.
func recordPage(page record.Page) []byte {
	size := 256
	for _, one := range page.Records {
		size += len(one) + 1
	}
	body := append(make([]byte, 0, size), `{"next_cursor":`...)
	if page.Next.IsZero() {
		body = append(body, `null`...)
	} else {
		body = append(append(append(body, '"'), page.Next.String()...), '"') // base64 needs no escapes
	}
	body = append(body, `,"records":[`...)
	for i, one := range page.Records {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, one...)
	}
	return append(body, `]}`...)
}

func (s *Server) pruneRecords(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	model, variant := b.String("model", input.Model), b.String("variant", input.Optional(input.Name))
	until, limit := readCursor(b, "until_cursor", true), b.Int("limit", prunePage, 1, record.MaxPage)
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	stream, err := s.recordStream(r, model, variant)
	if err != nil {
		return err
	}
	pruned, err := s.opts.Records.Prune(r.Context(), stream, until, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		Count   int  `json:"count"`
		HasMore bool `json:"has_more"`
	}{pruned.Count, pruned.More})
}

// readCursor reads a cursor. One that does not decode is the client's fault, and is told so.
func readCursor(r *input.Reader, name string, required bool) record.Cursor {
	text := r.String(name, input.Text{Required: required, Min: 1, Max: maxCursor})
	if text == "" {
		return record.Cursor{}
	}
	cursor, err := record.ParseCursor(text)
	if err != nil {
		r.Issue("invalid_format", record.ErrCursor.Message, name)
	}
	return cursor
}

func readRecordFilter(r *input.Reader, name string) record.Filter {
	var filter record.Filter
	text := r.String(name, input.Text{Min: 1})
	if text == "" {
		return filter
	}
	for action := range strings.SplitSeq(text, ",") {
		switch strings.ToLower(action) {
		case "added":
			filter.Added = true
		case "updated":
			filter.Updated = true
		case "deleted":
			filter.Deleted = true
		default:
			r.Issue("invalid_value", `Invalid option: expected a comma separated list of "added", "updated" and "deleted"`, name)
			return filter
		}
	}
	return filter
}

// utcTime is ISO-8601 in UTC, spelled with a Z; seconds may be left out.
var utcTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?Z$`)

// readChange reads the time since which records are asked for.
func readChange(r *input.Reader, name string) time.Time {
	text := r.String(name, input.Text{Min: 1})
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04Z", text)
	}
	switch {
	case err != nil || !utcTime.MatchString(text):
		r.Issue("invalid_format", "Invalid ISO datetime", name)
	case time.Since(at) > oldestChange:
		r.Issue("custom", "The time can't be more than 365 days ago", name)
	default:
		return at
	}
	return time.Time{}
}
