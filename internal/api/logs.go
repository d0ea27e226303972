package api

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Logs searches operations and their messages.
type Logs interface {
	// Operations and Messages refuse a search with an *errs.Error: a wrong cursor, too many words, an operation that is not there.
	Operations(ctx context.Context, q oplog.Query) (oplog.Page, error)
	Operation(ctx context.Context, environmentID int64, id string) (oplog.Record, error)
	Messages(ctx context.Context, environmentID int64, id string, q oplog.MessageQuery) (oplog.MessagePage, error)
	// Tail follows operations until ctx ends; the channel is closed then.
	Tail(ctx context.Context, q oplog.Query) (<-chan oplog.Event, error)
}

const (
	// maxFilterValues is how many alternatives a filter may have.
	maxFilterValues = 50
	// maxSearch is the length of a text search in characters.
	maxSearch = 256
	// tailBeat is how often a quiet tail says that it is alive: proxies cut connections that are silent for a minute.
	tailBeat = 15 * time.Second
)

func (s *Server) logRoutes() {
	read := access{tenant.ScopeLogsRead}
	s.json(http.MethodGet, "/logs/operations", read, s.listOperations)
	s.json(http.MethodGet, "/logs/operations/:operationId", read, s.getOperation)
	s.json(http.MethodGet, "/logs/operations/:operationId/messages", read, s.listMessages)
	s.json(http.MethodGet, "/logs/tail", read, s.tailOperations)
}

type pagination struct {
	Total  int     `json:"total"`
	Cursor *string `json:"cursor"`
}

type pageView struct {
	Data       any        `json:"data"`
	Pagination pagination `json:"pagination"`
}

// operationKind is a type or a type with an action.
var operationKind = regexp.MustCompile(`^[a-z_]+(:[a-z_]+)?$`)

// readWords reads a list whose values may be repeated or separated by commas.
func readWords(q *input.Reader, name string, rule input.Text) []string {
	var all []string
	for _, given := range q.Strings(name, input.Text{Min: 1}, maxFilterValues) {
		for part := range strings.SplitSeq(given, ",") {
			all = append(all, strings.TrimSpace(part))
		}
	}
	return checkWords(q, name, rule, all)
}

// readNames is readWords for names that may hold a comma themselves: the value as a whole is an alternative too.
func readNames(q *input.Reader, name string) []string {
	var all []string
	for _, given := range q.Strings(name, input.Text{Min: 1}, maxFilterValues) {
		all = append(all, given)
		if parts := strings.Split(given, ","); len(parts) > 1 {
			all = append(all, parts...)
		}
	}
	return checkWords(q, name, input.Text{Max: 255}, all)
}

func checkWords(q *input.Reader, name string, rule input.Text, all []string) []string {
	if len(all) > maxFilterValues {
		q.Issue("too_big", "Too big: expected at most 50 values", name)
		return nil
	}
	for _, one := range all {
		switch {
		case one == "":
			q.Issue("too_small", "Too small: expected string to have >=1 characters", name)
		case rule.Max > 0 && len([]rune(one)) > rule.Max:
			q.Issue("too_big", "Too big: expected string to have <=255 characters", name)
		case rule.Pattern != nil && !rule.Pattern.MatchString(one):
			q.Issue("invalid_format", "Invalid string: must match pattern /"+rule.Pattern.String()+"/", name)
		}
	}
	return all
}

func readOptions[T ~string](q *input.Reader, name string, options ...T) []T {
	var all []T
	for _, word := range readWords(q, name, input.Text{}) {
		if !slices.Contains(options, T(word)) {
			names := make([]string, len(options))
			for i, option := range options {
				names[i] = `"` + string(option) + `"`
			}
			q.Issue("invalid_value", "Invalid option: expected one of "+strings.Join(names, "|"), name)
			return nil
		}
		all = append(all, T(word))
	}
	return all
}

// readTime reads an RFC 3339 time or a UTC day.
func readTime(q *input.Reader, name string) time.Time {
	given := q.String(name, input.Text{})
	if given == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, given); err == nil && t.Year() > 0 {
			return t
		}
	}
	q.Issue("invalid_format", "Invalid ISO datetime", name)
	return time.Time{}
}

func readOperationFilter(q *input.Reader, environmentID int64) oplog.Query {
	return oplog.Query{
		EnvironmentID: environmentID,
		Types:         readWords(q, "type", input.Text{Pattern: operationKind}),
		States:        readOptions(q, "status", oplog.Waiting, oplog.Running, oplog.Success, oplog.Failed, oplog.Timeout, oplog.Cancelled),
		Integrations:  readNames(q, "integration"),
		Connections:   readNames(q, "connection"),
		Functions:     readNames(q, "function"),
		Text:          q.String("search", input.Text{Max: maxSearch}),
	}
}

// readSpan reads from and to, which must be in this order.
func readSpan(q *input.Reader) (from, to time.Time) {
	from, to = readTime(q, "from"), readTime(q, "to")
	if !from.IsZero() && !to.IsZero() && to.Before(from) {
		q.Issue("custom", "to must not be before from", "to")
	}
	return from, to
}

func readPage(q *input.Reader) (limit int, cursor string) {
	return q.Int("limit", oplog.DefaultLimit, 1, oplog.MaxLimit), q.String("cursor", input.Text{Max: 255})
}

func (s *Server) listOperations(w http.ResponseWriter, r *request) error {
	in := input.Query(r.query())
	q := readOperationFilter(in, r.env())
	q.From, q.To = readSpan(in)
	q.Limit, q.Cursor = readPage(in)
	if err := in.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	page, err := s.opts.Logs.Operations(r.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, pageView{page.Records, pagination{page.Total, orNull(page.Cursor)}})
}

func (s *Server) getOperation(w http.ResponseWriter, r *request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	operation, err := s.opts.Logs.Operation(r.Context(), r.env(), r.param("operationId"))
	if err != nil {
		return err
	}
	return writeData(w, operation)
}

func (s *Server) listMessages(w http.ResponseWriter, r *request) error {
	in := input.Query(r.query())
	q := oplog.MessageQuery{
		Text:        in.String("search", input.Text{Max: maxSearch}),
		Levels:      readOptions(in, "level", oplog.Debug, oplog.Info, oplog.Warn, oplog.Error),
		OldestFirst: in.OneOf("order", "asc", "desc") == "asc",
	}
	q.From, q.To = readSpan(in)
	q.Limit, q.Cursor = readPage(in)
	if err := in.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	page, err := s.opts.Logs.Messages(r.Context(), r.env(), r.param("operationId"), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, pageView{page.Messages, pagination{page.Total, orNull(page.Cursor)}})
}

// tailOperations streams Server-Sent Events named "operation", each an oplog.Event, until the client goes away.
func (s *Server) tailOperations(w http.ResponseWriter, r *request) error {
	in := input.Query(r.query())
	q := readOperationFilter(in, r.env())
	if err := in.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	events, err := s.opts.Logs.Tail(r.Context(), q)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // not every writer has one
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	beat := time.NewTicker(tailBeat)
	defer beat.Stop()
	text := []byte(": following\n\n")
	for {
		if _, err := w.Write(text); err != nil {
			return nil // the client is gone
		}
		if err := control.Flush(); err != nil {
			return nil // as above
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.opts.Draining:
			return nil
		case e, open := <-events:
			if !open {
				return nil
			}
			data, err := json.Marshal(e)
			if err != nil {
				return nil // the answer has begun; an event that was read from JSON always marshals
			}
			text = slices.Concat([]byte("event: operation\ndata: "), data, []byte("\n\n"))
		case <-beat.C:
			text = []byte(": \n\n")
		}
	}
}
