package app

import (
	"context"
	"errors"

	"github.com/patchbay-dev/patchbay/internal/store"
)

// Line is how far one line of the schema is.
type Line struct {
	Name    string   `json:"name"`
	Applied int      `json:"applied"`
	Known   int      `json:"known"`
	Pending []string `json:"pending"`
}

// Migrate brings the schema up to date, or with check only tells how far it is, and opens nothing else.
func Migrate(ctx context.Context, opts Options, check bool) (lines []Line, err error) {
	s, err := store.Connect(ctx, store.Options{DataDir: opts.Config.DataDir, PostgresURL: opts.Config.DatabaseURL.Reveal(), Logger: opts.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if !check {
		if err := s.Migrate(ctx); err != nil {
			return nil, err
		}
	}
	all, err := s.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, line := range all {
		lines = append(lines, Line{line.Line, line.Applied, line.Known, append([]string{}, line.Pending...)})
	}
	return lines, nil
}
