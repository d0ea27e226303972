package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

type batch struct {
	Model   string          `json:"model"`
	Records json.RawMessage `json:"records"`
}

// writing is one of the three ways to write a batch.
type writing struct {
	name  string // as the log has it
	write func(ctx context.Context, stream record.Stream, by record.Run, records json.RawMessage, merge record.Merge) (record.Result, error)
}

func (h *Host) recordsSave(ctx context.Context, in batch) ([]byte, error) {
	return h.write(ctx, in, writing{"saved", h.services.Records.Save})
}

func (h *Host) recordsUpdate(ctx context.Context, in batch) ([]byte, error) {
	return h.write(ctx, in, writing{"updated", h.services.Records.Update})
}

func (h *Host) recordsDelete(ctx context.Context, in batch) ([]byte, error) {
	return h.write(ctx, in, writing{"deleted", h.services.Records.Delete})
}

// by is who writes records.
func (h *Host) by() record.Run {
	return h.subject.Source.Run
}

// check is nil if the function has the model.
func (h *Host) check(model string) error {
	if h.subject.Source == nil {
		return notASync()
	}
	if !slices.Contains(h.subject.Function.Models, model) {
		return refuse("unknown_model", fmt.Sprintf("The model %q is not one of the sync's: %s", model, strings.Join(h.subject.Function.Models, ", ")))
	}
	return nil
}

func (h *Host) write(ctx context.Context, in batch, w writing) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.wrote[in.Model] = true
	merge := h.merges[in.Model]
	if merge.Strategy == record.IgnoreIfModifiedAfter {
		defer h.mu.Unlock() // each batch goes on from where the one before has got
	} else {
		h.mu.Unlock()
	}
	result, err := w.write(ctx, h.subject.Stream(in.Model), h.by(), in.Records, merge)
	if err != nil {
		return nil, plain(err)
	}
	if merge.Strategy == record.IgnoreIfModifiedAfter {
		h.merges[in.Model] = result.NextMerge
	}
	h.logBatch(ctx, in.Model, w.name, result)
	if err := h.count(ctx, in.Model, Counts{result.Added, result.Updated, result.Deleted}); err != nil {
		return nil, err
	}
	return empty, nil
}

// count adds to the result of the run.
func (h *Host) count(ctx context.Context, model string, c Counts) error {
	if c == (Counts{}) {
		return nil
	}
	return h.subject.Source.Count(context.WithoutCancel(ctx), model, c)
}

// logBatch tells what a batch did.
func (h *Host) logBatch(ctx context.Context, model, verb string, r record.Result) {
	persist := oplog.PersistResults{
		Model: record.FullModel(model, h.subject.Variant), Added: r.Added, Updated: r.Updated, Unchanged: r.Unchanged, Deleted: r.Deleted,
	}
	message := oplog.Message{Context: "script", Persist: &persist}
	switch { // the ids are of one kind, or told apart by nobody
	case r.Updated == 0 && r.Deleted == 0:
		persist.AddedKeys = r.Keys
	case r.Added == 0 && r.Deleted == 0:
		persist.UpdatedKeys = r.Keys
	case r.Added == 0 && r.Updated == 0:
		persist.DeletedKeys = r.Keys
	default:
		message.Meta = Encode(map[string]any{"keys": r.Keys})
	}
	message.Text = fmt.Sprintf("%s %s: %d added, %d updated, %d deleted, %d unchanged", persist.Model, verb, r.Added, r.Updated, r.Deleted, r.Unchanged)
	if r.Skipped > 0 {
		message.Text += fmt.Sprintf(", %d left alone because they were changed meanwhile", r.Skipped)
	}
	h.subject.Operation.Append(ctx, message)
	if len(r.Duplicates) > 0 {
		const shown = 10
		h.subject.Operation.Append(ctx, oplog.Message{
			Level: oplog.Error, Context: "script",
			Text: fmt.Sprintf("%s: %d records have an id that came before in the same batch and are ignored", persist.Model, len(r.Duplicates)),
			Meta: Encode(map[string]any{"ids": r.Duplicates[:min(len(r.Duplicates), shown)]}),
		})
	}
}

type recordsQuery struct {
	Model  string   `json:"model"`
	IDs    []string `json:"ids"`
	Cursor string   `json:"cursor"`
	Limit  int      `json:"limit"`
}

type recordsReply struct {
	Records []json.RawMessage `json:"records"`
}

func (h *Host) recordsGet(ctx context.Context, in recordsQuery) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	found, err := h.services.Records.GetByIDs(ctx, h.subject.Stream(in.Model), in.IDs)
	if err != nil {
		return nil, plain(err)
	}
	return Encode(recordsReply{notNil(found)}), nil
}

func (h *Host) recordsList(ctx context.Context, in recordsQuery) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	q := record.PageQuery{Limit: in.Limit}
	if in.Cursor != "" {
		var err error
		if q.Cursor, err = record.ParseCursor(in.Cursor); err != nil {
			return nil, plain(err)
		}
	}
	page, err := h.services.Records.Page(ctx, h.subject.Stream(in.Model), q)
	if err != nil {
		return nil, plain(err)
	}
	reply := struct {
		recordsReply

		Next *string `json:"nextCursor"`
	}{recordsReply: recordsReply{notNil(page.Records)}}
	if !page.Next.IsZero() {
		next := page.Next.String()
		reply.Next = &next
	}
	return Encode(reply), nil
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type modelRequest struct {
	Model    string          `json:"model"`
	Strategy record.Strategy `json:"strategy"`
}

func (h *Host) deletePrevious(ctx context.Context, in modelRequest) ([]byte, error) {
	return h.deleteGone(ctx, in.Model, h.services.Records.DeletePrevious)
}

// DeletePrevious does for a model what records.deletePrevious does, for syncs that want it done at the end of each run.
func (h *Host) DeletePrevious(ctx context.Context, model string) error {
	_, err := h.deletePrevious(ctx, modelRequest{Model: model})
	return err
}

func (h *Host) trackDeletesEnd(ctx context.Context, in modelRequest) ([]byte, error) {
	return h.deleteGone(ctx, in.Model, h.services.Records.TrackDeletesEnd)
}

// deleteGone deletes what the source has no longer. It counts for this run.
func (h *Host) deleteGone(ctx context.Context, model string, del func(context.Context, record.Stream, record.Run) ([]string, error)) ([]byte, error) {
	if err := h.check(model); err != nil {
		return nil, err
	}
	deleted, err := del(ctx, h.subject.Stream(model), h.by())
	if len(deleted) > 0 { // also those before an error
		h.subject.Operation.Log(ctx, oplog.Info,
			fmt.Sprintf("%s: %d records are gone from the source and were deleted", record.FullModel(model, h.subject.Variant), len(deleted)))
		err = errors.Join(err, h.count(ctx, model, Counts{Deleted: len(deleted)}))
	}
	if err != nil {
		return nil, plain(err)
	}
	return Encode(map[string][]string{"deletedKeys": notNil(deleted)}), nil
}

func (h *Host) trackDeletesStart(ctx context.Context, in modelRequest) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	if err := h.services.Records.TrackDeletesStart(ctx, h.subject.Stream(in.Model), h.by()); err != nil {
		return nil, plain(err)
	}
	return empty, nil
}

// mergingSet begins a strategy; the SDK has made sure that it is the first call on the model.
func (h *Host) mergingSet(ctx context.Context, in modelRequest) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	if in.Strategy != record.Override && in.Strategy != record.IgnoreIfModifiedAfter {
		return nil, refuse("invalid_strategy", fmt.Sprintf("There is no merging strategy %q", in.Strategy))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, set := h.merges[in.Model]; set || h.wrote[in.Model] {
		return empty, nil
	}
	merge, err := h.services.Records.StartMerge(ctx, h.subject.Stream(in.Model), in.Strategy)
	if err != nil {
		return nil, plain(err)
	}
	h.merges[in.Model] = merge
	return empty, nil
}

var _ runner.Host = (*Host)(nil)
