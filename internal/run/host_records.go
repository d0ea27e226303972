package run

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

func (h *host) recordsSave(ctx context.Context, in batch) ([]byte, error) {
	return h.write(ctx, in, writing{"saved", h.opts.Records.Save})
}

func (h *host) recordsUpdate(ctx context.Context, in batch) ([]byte, error) {
	return h.write(ctx, in, writing{"updated", h.opts.Records.Update})
}

func (h *host) recordsDelete(ctx context.Context, in batch) ([]byte, error) {
	return h.write(ctx, in, writing{"deleted", h.opts.Records.Delete})
}

// by is who writes records.
func (h *host) by() record.Run {
	return record.Run{Generation: h.x.run.Generation, Checkpoint: h.x.sync.checkpoint()}
}

// check is nil if the function has the model.
func (h *host) check(model string) error {
	if h.x.sync == nil {
		return notASync()
	}
	if !slices.Contains(h.x.function.Models, model) {
		return refuse("unknown_model", fmt.Sprintf("The model %q is not one of the sync's: %s", model, strings.Join(h.x.function.Models, ", ")))
	}
	return nil
}

func (h *host) write(ctx context.Context, in batch, w writing) ([]byte, error) {
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
	result, err := w.write(ctx, h.x.stream(in.Model), h.by(), in.Records, merge)
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

// count adds to the result of the run and stores it, so that it survives the process.
func (h *host) count(ctx context.Context, model string, c Counts) error {
	if c == (Counts{}) {
		return nil
	}
	h.counting.Lock()
	defer h.counting.Unlock()
	sum := h.x.run.Result[model]
	h.x.run.Result[model] = Counts{sum.Added + c.Added, sum.Updated + c.Updated, sum.Deleted + c.Deleted}
	return h.store.SaveRun(context.WithoutCancel(ctx), *h.x.run)
}

// logBatch tells what a batch did.
func (h *host) logBatch(ctx context.Context, model, verb string, r record.Result) {
	persist := oplog.PersistResults{Model: record.FullModel(model, h.x.variant), Added: r.Added, Updated: r.Updated, Unchanged: r.Unchanged, Deleted: r.Deleted}
	message := oplog.Message{Context: "script", Persist: &persist}
	switch { // the ids are of one kind, or told apart by nobody
	case r.Updated == 0 && r.Deleted == 0:
		persist.AddedKeys = r.Keys
	case r.Added == 0 && r.Deleted == 0:
		persist.UpdatedKeys = r.Keys
	case r.Added == 0 && r.Updated == 0:
		persist.DeletedKeys = r.Keys
	default:
		message.Meta = encode(map[string]any{"keys": r.Keys})
	}
	message.Text = fmt.Sprintf("%s %s: %d added, %d updated, %d deleted, %d unchanged", persist.Model, verb, r.Added, r.Updated, r.Deleted, r.Unchanged)
	if r.Skipped > 0 {
		message.Text += fmt.Sprintf(", %d left alone because they were changed meanwhile", r.Skipped)
	}
	h.x.op.Append(ctx, message)
	if len(r.Duplicates) > 0 {
		const shown = 10
		h.x.op.Append(ctx, oplog.Message{
			Level: oplog.Error, Context: "script", Text: fmt.Sprintf("%s: %d records have an id that came before in the same batch and are ignored", persist.Model, len(r.Duplicates)),
			Meta: encode(map[string]any{"ids": r.Duplicates[:min(len(r.Duplicates), shown)]}),
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

func (h *host) recordsGet(ctx context.Context, in recordsQuery) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	found, err := h.opts.Records.GetByIDs(ctx, h.x.stream(in.Model), in.IDs)
	if err != nil {
		return nil, plain(err)
	}
	return encode(recordsReply{notNil(found)}), nil
}

func (h *host) recordsList(ctx context.Context, in recordsQuery) ([]byte, error) {
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
	page, err := h.opts.Records.Page(ctx, h.x.stream(in.Model), q)
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
	return encode(reply), nil
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

func (h *host) deletePrevious(ctx context.Context, in modelRequest) ([]byte, error) {
	return h.deleteGone(ctx, in.Model, h.opts.Records.DeletePrevious)
}

func (h *host) trackDeletesEnd(ctx context.Context, in modelRequest) ([]byte, error) {
	return h.deleteGone(ctx, in.Model, h.opts.Records.TrackDeletesEnd)
}

// deleteGone deletes what the source has no longer. It counts for this run.
func (h *host) deleteGone(ctx context.Context, model string, del func(context.Context, record.Stream, record.Run) ([]string, error)) ([]byte, error) {
	if err := h.check(model); err != nil {
		return nil, err
	}
	deleted, err := del(ctx, h.x.stream(model), h.by())
	if len(deleted) > 0 { // also those before an error
		h.x.op.Log(ctx, oplog.Info, fmt.Sprintf("%s: %d records are gone from the source and were deleted", record.FullModel(model, h.x.variant), len(deleted)))
		err = errors.Join(err, h.count(ctx, model, Counts{Deleted: len(deleted)}))
	}
	if err != nil {
		return nil, plain(err)
	}
	return encode(map[string][]string{"deletedKeys": notNil(deleted)}), nil
}

func (h *host) trackDeletesStart(ctx context.Context, in modelRequest) ([]byte, error) {
	if err := h.check(in.Model); err != nil {
		return nil, err
	}
	if err := h.opts.Records.TrackDeletesStart(ctx, h.x.stream(in.Model), h.by()); err != nil {
		return nil, plain(err)
	}
	return empty, nil
}

// mergingSet begins a strategy; the SDK has made sure that it is the first call on the model.
func (h *host) mergingSet(ctx context.Context, in modelRequest) ([]byte, error) {
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
	merge, err := h.opts.Records.StartMerge(ctx, h.x.stream(in.Model), in.Strategy)
	if err != nil {
		return nil, plain(err)
	}
	h.merges[in.Model] = merge
	return empty, nil
}

var _ runner.Host = (*host)(nil)
