package host

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/patchbay-dev/patchbay/internal/queue"
)

// checkpointReply is a checkpoint as functions get it.
type checkpointReply struct {
	Checkpoint json.RawMessage `json:"checkpoint"`
}

// load reads the checkpoint if that was not done yet.
func (h *Host) load(ctx context.Context) error {
	if h.checkpoint.read {
		return nil
	}
	stored, err := h.services.Checkpoints.Get(ctx, h.key())
	if err != nil {
		return err
	}
	h.checkpoint = heldCheckpoint{read: true, version: stored.Version, from: stored.Fields, to: stored.Fields}
	return nil
}

func (h *Host) checkpointGet(ctx context.Context, _ none) ([]byte, error) {
	h.checkpoints.Lock()
	defer h.checkpoints.Unlock()
	if err := h.load(ctx); err != nil {
		return nil, err
	}
	return Encode(checkpointReply{h.checkpoint.to}), nil
}

// checkpointSave stores first and then says that the run should end, if it should. A run whose job was lost to another process
// stores nothing: the checkpoint is the other's.
func (h *Host) checkpointSave(ctx context.Context, in checkpointReply) ([]byte, error) {
	if errors.Is(context.Cause(ctx), queue.ErrLeaseLost) {
		return nil, aborted()
	}
	done := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	h.checkpoints.Lock()
	defer h.checkpoints.Unlock()
	if err := h.load(ctx); err != nil {
		return nil, err
	}
	version, err := h.services.Checkpoints.Save(ctx, h.key(), in.Checkpoint, h.checkpoint.version)
	if err != nil {
		return nil, plain(err)
	}
	h.checkpoint.version, h.checkpoint.to = version, in.Checkpoint
	switch {
	case done:
		return nil, aborted()
	case h.overdue():
		return nil, interrupted()
	}
	return empty, nil
}

func (h *Host) checkpointClear(ctx context.Context, _ none) ([]byte, error) {
	h.checkpoints.Lock()
	defer h.checkpoints.Unlock()
	if err := h.load(ctx); err != nil {
		return nil, err
	}
	version, err := h.services.Checkpoints.Clear(ctx, h.key(), h.checkpoint.version)
	if err != nil {
		return nil, plain(err)
	}
	h.checkpoint.version, h.checkpoint.to = version, nil
	return empty, nil
}

// CheckpointRange is {"from", "to"} of the run; nil if it did not use the checkpoint.
func (h *Host) CheckpointRange() json.RawMessage {
	h.checkpoints.Lock()
	defer h.checkpoints.Unlock()
	if !h.checkpoint.read {
		return nil
	}
	return Encode(map[string]json.RawMessage{"from": h.checkpoint.from, "to": h.checkpoint.to})
}

type lockRequest struct {
	Key   string `json:"key"`
	TTLMs int64  `json:"ttlMs"`
}

// Limits of locks: 255 characters (wire contract), and no lock outlives the longest run.
const (
	maxLockKey  = 255
	maxLockLife = 24 * time.Hour
)

func (h *Host) lockAcquire(ctx context.Context, in lockRequest) ([]byte, error) {
	if n := utf8.RuneCountInString(in.Key); n == 0 || n > maxLockKey || in.TTLMs <= 0 {
		return nil, refuse("invalid_lock", "A lock needs a key of 1 to 255 characters and a ttlMs above 0")
	}
	life := maxLockLife
	if in.TTLMs < maxLockLife.Milliseconds() {
		life = time.Duration(in.TTLMs) * time.Millisecond
	}
	h.mu.Lock()
	h.locked = true
	h.mu.Unlock()
	now := h.services.Now()
	acquired, err := h.services.Locks.AcquireLock(ctx, h.subject.Environment.ID, in.Key, h.subject.Operation.ID(), now, now.Add(life))
	if err != nil {
		return nil, err
	}
	return Encode(map[string]bool{"acquired": acquired}), nil
}

func (h *Host) lockRelease(ctx context.Context, in lockRequest) ([]byte, error) {
	released, err := h.services.Locks.ReleaseLock(ctx, h.subject.Environment.ID, in.Key, h.subject.Operation.ID())
	if err != nil {
		return nil, err
	}
	return Encode(map[string]bool{"released": released}), nil
}

func (h *Host) lockReleaseAll(ctx context.Context, _ none) ([]byte, error) {
	if err := h.services.Locks.ReleaseLocks(ctx, h.subject.Environment.ID, h.subject.Operation.ID()); err != nil {
		return nil, err
	}
	return empty, nil
}
