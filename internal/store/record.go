package store

import "github.com/patchbay-dev/patchbay/internal/store/recordstore"

// Records gives the SQL of the records cache.
func (s *Store) Records() recordstore.Records { return recordstore.New(s.records) }

// Checkpoints gives the SQL of checkpoints.
func (s *Store) Checkpoints() recordstore.Checkpoints { return recordstore.NewCheckpoints(s.records) }
