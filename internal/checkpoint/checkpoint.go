// Package checkpoint remembers where a function left off: a small flat object per connection and name.
//
// A checkpoint is stored in the same database as the records, so that whoever writes both in one transaction keeps them in
// step. Its version guards it: each save and clear raises it by one, and a change on the strength of another version than the
// stored one is refused, so that two runs of one function can't overwrite each other's progress. A cleared checkpoint keeps
// its version; only Reset and DeleteConnection forget it, which makes a run that is still going lose the next save.
package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// Limits of the wire contract. Lengths are in UTF-16 units, as JavaScript counts.
const (
	MaxFields = 16
	MaxKey    = 255 // of a field's name, and of a checkpoint's
	MaxText   = 4000
)

// ErrConflict is returned when a checkpoint was changed by somebody else, or reset.
var ErrConflict = errs.New(http.StatusConflict, "checkpoint_conflict", "The checkpoint was changed by another run")

// Key names a checkpoint.
type Key struct {
	EnvironmentID int64
	ConnectionID  int64 // the internal id
	// Name is that of the function, such as sync:contacts:base.
	Name string
}

// Checkpoint is what is stored. The zero value is: nothing, ever.
type Checkpoint struct {
	// Fields is a JSON object; nil if the checkpoint was cleared or never saved.
	Fields  json.RawMessage
	Version int64
}

// Store keeps checkpoints.
type Store interface {
	// Get gives the zero Checkpoint if there is none.
	Get(ctx context.Context, key Key) (Checkpoint, error)
	// Put stores fields, nil for none, over the given version, 0 meaning that there is no checkpoint; false if that is not so.
	Put(ctx context.Context, key Key, fields json.RawMessage, version int64, now time.Time) (bool, error)
	// Reset forgets the checkpoint key.Name and those below it, whose names go on with a colon.
	Reset(ctx context.Context, key Key) (int, error)
	DeleteConnection(ctx context.Context, environmentID, connectionID int64) error
}

// Options of New. Store is required.
type Options struct {
	Store Store
	Now   func() time.Time
}

// Service is the rules of checkpoints.
type Service struct{ opts Options }

// New makes a Service.
func New(opts Options) *Service {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Service{opts}
}

// Get reads a checkpoint; there always is one, see Checkpoint.
func (s *Service) Get(ctx context.Context, key Key) (Checkpoint, error) {
	c, err := s.opts.Store.Get(ctx, key)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read the checkpoint %s of connection %d: %w", key.Name, key.ConnectionID, err)
	}
	return c, nil
}

// Save stores fields over the version that the caller knows, 0 for none, and gives the new version. Fields that break a limit
// are an *errs.Error 400, another version ErrConflict.
func (s *Service) Save(ctx context.Context, key Key, fields json.RawMessage, version int64) (int64, error) {
	if err := check(key, fields); err != nil {
		return 0, err
	}
	return s.put(ctx, key, fields, version)
}

// Clear empties a checkpoint over the version that the caller knows and gives the new version. If there is nothing to clear it
// does nothing.
func (s *Service) Clear(ctx context.Context, key Key, version int64) (int64, error) {
	current, err := s.Get(ctx, key)
	if err != nil || current.Fields == nil {
		return current.Version, err
	}
	return s.put(ctx, key, nil, version)
}

func (s *Service) put(ctx context.Context, key Key, fields json.RawMessage, version int64) (int64, error) {
	stored, err := s.opts.Store.Put(ctx, key, fields, version, s.opts.Now())
	if err != nil {
		return 0, fmt.Errorf("save the checkpoint %s of connection %d: %w", key.Name, key.ConnectionID, err)
	}
	if !stored {
		return 0, ErrConflict
	}
	return version + 1, nil
}

// Reset forgets a checkpoint and those below it (the name, a colon, and more), and reports how many there were.
func (s *Service) Reset(ctx context.Context, key Key) (int, error) {
	n, err := s.opts.Store.Reset(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("reset the checkpoint %s of connection %d: %w", key.Name, key.ConnectionID, err)
	}
	return n, nil
}

// DeleteConnection forgets all checkpoints of a connection.
func (s *Service) DeleteConnection(ctx context.Context, environmentID, connectionID int64) error {
	if err := s.opts.Store.DeleteConnection(ctx, environmentID, connectionID); err != nil {
		return fmt.Errorf("delete the checkpoints of connection %d: %w", connectionID, err)
	}
	return nil
}

// check holds fields against the limits: an object whose members are strings, numbers and booleans.
func check(key Key, fields json.RawMessage) error {
	var issues []errs.Issue
	refuse := func(code, message string, path ...string) {
		issues = append(issues, errs.Issue{Code: code, Message: message, Path: append([]string{"checkpoint"}, path...)})
	}
	if key.Name == "" || length(key.Name) > MaxKey {
		message := fmt.Sprintf("The key must have 1 to %d characters", MaxKey)
		return errs.Invalid("invalid_body", errs.Issue{Code: "too_big", Message: message, Path: []string{"key"}})
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(fields, &object); err != nil || object == nil {
		refuse("invalid_type", "A checkpoint must be an object")
		return errs.Invalid("invalid_body", issues...).Because(err)
	}
	if len(object) > MaxFields {
		refuse("too_big", fmt.Sprintf("A checkpoint can have at most %d fields", MaxFields))
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if length(name) > MaxKey {
			message := fmt.Sprintf("The name of a field can have at most %d characters", MaxKey)
			refuse("too_big", message, strings.ToValidUTF8(name[:MaxKey], ""))
			continue
		}
		switch value := object[name]; value[0] {
		case '{', '[', 'n':
			refuse("invalid_type", "The value of a field must be a string, a number or a boolean", name)
		case '"':
			var text string
			if err := json.Unmarshal(value, &text); err != nil { // it was decoded above
				return err
			}
			if length(text) > MaxText {
				refuse("too_big", fmt.Sprintf("A text can have at most %d characters", MaxText), name)
			}
		}
	}
	if len(issues) > 0 {
		return errs.Invalid("invalid_body", issues...)
	}
	return nil
}

// length counts UTF-16 units. A text never has more of them than bytes.
func length(text string) int {
	if len(text) <= MaxKey {
		return len(text)
	}
	return len(utf16.Encode([]rune(text)))
}
