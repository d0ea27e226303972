package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/oplog"
)

const (
	// logsPatience is how long one answer may take.
	logsPatience = 30 * time.Second
	// logsAgain is how long following waits before it connects again.
	logsAgain = time.Second
)

// logsClient asks a server for its logs.
type logsClient struct{ *serverClient }

func (c *logsClient) get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, logsPatience)
	defer cancel()
	return c.call(ctx, serverRequest{Path: path, Query: query}, v)
}

type logsPage[T any] struct {
	Data       []T `json:"data"`
	Pagination struct {
		Total  int    `json:"total"`
		Cursor string `json:"cursor"`
	} `json:"pagination"`
}

func (c *logsClient) operations(ctx context.Context, query url.Values) ([]oplog.Record, int, error) {
	var page logsPage[oplog.Record]
	err := c.get(ctx, "/logs/operations", query, &page)
	return page.Data, page.Pagination.Total, err
}

func (c *logsClient) operation(ctx context.Context, id string) (oplog.Record, error) {
	var answer struct {
		Data oplog.Record `json:"data"`
	}
	err := c.get(ctx, "/logs/operations/"+url.PathEscape(id), nil, &answer)
	return answer.Data, err
}

// messages hands over all messages of an operation, the oldest first.
func (c *logsClient) messages(ctx context.Context, id, search string, show func(oplog.Message) error) error {
	query := url.Values{"order": {"asc"}, "limit": {strconv.Itoa(oplog.MaxLimit)}}
	if search != "" {
		query.Set("search", search)
	}
	for {
		var page logsPage[oplog.Message]
		if err := c.get(ctx, "/logs/operations/"+url.PathEscape(id)+"/messages", query, &page); err != nil {
			return err
		}
		for _, m := range page.Data {
			if err := show(m); err != nil {
				return err
			}
		}
		if page.Pagination.Cursor == "" {
			return nil
		}
		query.Set("cursor", page.Pagination.Cursor)
	}
}

// follow shows events until ctx ends. When the connection is lost it connects again and says so; a refusal ends it.
func (c *logsClient) follow(ctx context.Context, progress io.Writer, query url.Values, show func(oplog.Event) error) error {
	for first := true; ; first = false {
		err := c.stream(ctx, query, show)
		var refusal *errs.Error
		var output logsOutputError
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the user has seen enough
		case errors.As(err, &output):
			return output.error
		case errors.As(err, &refusal) && refusal.Status < http.StatusInternalServerError, first && err != nil:
			return err
		}
		_, _ = fmt.Fprintln(progress, "the connection was lost, connecting again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(logsAgain):
		}
	}
}

// logsOutputError is a failure to show what was read.
type logsOutputError struct{ error }

func (c *logsClient) stream(ctx context.Context, query url.Values, show func(oplog.Event) error) error {
	body, err := c.open(ctx, serverRequest{Path: "/logs/tail", Query: query})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // the stream is over
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil // it was open: the caller connects again
		}
		data, isData := strings.CutPrefix(line, "data: ")
		if !isData {
			continue
		}
		var e oplog.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("read an event of %s: %w", c.base, err)
		}
		if err := show(e); err != nil {
			return logsOutputError{err}
		}
	}
}
