package store

import (
	"context"
	"path/filepath"

	"github.com/patchbay-dev/patchbay/internal/store/logstore"
)

// OpenLogs opens the logs next to the rest: day files in the folder "logs" of the data folder, or partitions in the PostgreSQL
// database. Folder, Postgres, Now and Logger of opts are filled in. Close it before the Store.
func (s *Store) OpenLogs(ctx context.Context, opts logstore.Options) (*logstore.Store, error) {
	opts.Folder, opts.Now, opts.Logger = filepath.Join(s.opts.DataDir, "logs"), s.opts.Now, s.opts.Logger
	if s.Postgres() {
		opts.Postgres = s.core
	}
	return logstore.Open(ctx, opts)
}
