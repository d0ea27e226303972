package run

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// platform is what functions can start: it is the Service as a host sees it.
type platform struct{ *Service }

var _ host.Platform = platform{}

// TriggerAction implements host.Platform.
func (p platform) TriggerAction(ctx context.Context, e tenant.Environment, in host.ActionRequest, depth int) (json.RawMessage, error) {
	call := ActionCall{Environment: e, Integration: in.Integration, ConnectionID: in.ConnectionID, Action: in.Action, Input: in.Input}
	return p.action(ctx, call, depth)
}

// TriggerSyncs implements host.Platform.
func (p platform) TriggerSyncs(ctx context.Context, e tenant.Environment, in host.SyncRequest) error {
	opts, ok := ModeOptions(in.Mode)
	if !ok {
		return errs.Newf(http.StatusBadRequest, "invalid_body", "There is no sync mode %q", in.Mode)
	}
	if in.Opts != nil {
		opts = TriggerOptions(*in.Opts)
	}
	sel, err := selection(in)
	if err != nil {
		return err
	}
	return p.Trigger(ctx, e, sel, opts)
}

// ResumeSyncs implements host.Platform.
func (p platform) ResumeSyncs(ctx context.Context, e tenant.Environment, in host.SyncRequest) error {
	sel, err := selection(in)
	if err != nil {
		return err
	}
	return p.StartSyncs(ctx, e, sel)
}

func selection(in host.SyncRequest) (Selection, error) {
	sel := Selection{Integration: in.Integration, ConnectionID: in.ConnectionID}
	if len(in.Syncs) == 0 {
		return sel, nil
	}
	if err := json.Unmarshal(in.Syncs, &sel.Syncs); err != nil {
		return sel, errs.New(http.StatusBadRequest, "invalid_body",
			"The syncs must be a list of names, or of objects with name and variant").Because(err)
	}
	return sel, nil
}
