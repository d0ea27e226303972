package run

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
)

type connectionRequest struct {
	ProviderConfigKey string `json:"providerConfigKey"`
	ConnectionID      string `json:"connectionId"`
	ForceRefresh      bool   `json:"forceRefresh"`
	RefreshToken      bool   `json:"refreshToken"`
	// RefreshAppToken forces a new token of an app installation, which is what a refresh of its connection is.
	RefreshAppToken bool `json:"refreshGithubAppJwtToken"`
}

// connectionGet answers like GET /connections/{id}.
func (h *host) connectionGet(ctx context.Context, in connectionRequest) ([]byte, error) {
	i, err := h.opts.Integrations.Get(ctx, h.x.env.ID, in.ProviderConfigKey)
	if errors.Is(err, integration.ErrNotFound) {
		err = errs.Newf(http.StatusBadRequest, "unknown_provider_config", "There is no integration %q in this environment", in.ProviderConfigKey).Because(err)
	}
	if err != nil {
		return nil, platform(err)
	}
	c, err := h.opts.Connections.Get(ctx, i, in.ConnectionID)
	if err != nil {
		return nil, platform(err)
	}
	h.opts.Connections.Touch(c)
	fresh, err := h.opts.Fresh.Ensure(ctx, i, c, in.ForceRefresh || in.RefreshAppToken)
	if err != nil {
		return nil, platform(err)
	}
	h.x.hide(fresh, i)
	view := connection.ViewOf(fresh, isoOffset)
	if !in.RefreshToken {
		view = view.WithoutRefreshToken(fresh)
	}
	return encode(view), nil
}

// integrationGet answers with the data of GET /integrations/{key}.
func (h *host) integrationGet(_ context.Context, in struct {
	Include []string `json:"include"`
}) ([]byte, error) {
	i := h.x.integration
	view := integration.ViewOf(i, h.x.provider, h.opts.PublicURL)
	for _, part := range in.Include {
		switch part {
		case "webhook":
			url := integration.WebhookURL(i, h.x.provider, h.opts.PublicURL, h.x.env.UUID)
			view.WebhookURL = &url
		case "credentials":
			var err error
			if view.Credentials, err = integration.CredentialsView(i, h.x.provider); err != nil {
				return nil, err
			}
		}
	}
	return encode(view), nil
}

type metadataRequest struct {
	Metadata json.RawMessage `json:"metadata"`
}

func (h *host) metadataSet(ctx context.Context, in metadataRequest) ([]byte, error) {
	return h.metadata(ctx, in, http.StatusCreated, false)
}

func (h *host) metadataUpdate(ctx context.Context, in metadataRequest) ([]byte, error) {
	return h.metadata(ctx, in, http.StatusOK, true)
}

// metadata changes the connection's metadata and answers like the API, which echoes what it was sent.
func (h *host) metadata(ctx context.Context, in metadataRequest, status int, merge bool) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(in.Metadata, &fields); err != nil || fields == nil {
		return nil, platform(errs.Invalid("invalid_body", errs.Issue{
			Code: "invalid_type", Message: "Invalid input: expected object", Path: []string{"metadata"},
		}))
	}
	id := h.x.connection.ConnectionID
	if err := h.opts.Connections.SetMetadata(ctx, h.x.integration, []string{id}, in.Metadata, merge); err != nil {
		return nil, platform(err)
	}
	return encode(map[string]any{
		"status": status,
		"body":   map[string]any{"connection_id": id, "provider_config_key": h.x.integration.Key, "metadata": in.Metadata},
	}), nil
}

// environmentVariables reads them anew: an author who changes one expects to see it.
func (h *host) environmentVariables(ctx context.Context, _ none) ([]byte, error) {
	all, err := h.opts.Tenants.Variables(ctx, h.x.env)
	if err != nil {
		return nil, err
	}
	h.x.hideVariables(all)
	type variable struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	views := make([]variable, len(all))
	for i, v := range all {
		views[i] = variable{v.Name, v.Value.Reveal()}
	}
	return encode(views), nil
}

type actionRequest struct {
	ProviderConfigKey string          `json:"providerConfigKey"`
	ConnectionID      string          `json:"connectionId"`
	Action            string          `json:"action"`
	Input             json.RawMessage `json:"input"`
}

// maxDepth is how many actions may wait for each other: each holds a virtual machine.
const maxDepth = 8

// actionTrigger runs another action and waits for it.
func (h *host) actionTrigger(ctx context.Context, in actionRequest) ([]byte, error) {
	if h.x.depth >= maxDepth {
		return nil, refuse("too_many_nested_actions", "Actions have called each other too often")
	}
	output, err := h.action(ctx, ActionCall{
		Environment: h.x.env, Integration: in.ProviderConfigKey, ConnectionID: in.ConnectionID, Action: in.Action, Input: in.Input,
	}, h.x.depth+1)
	if err != nil {
		return nil, platform(err)
	}
	return object("output", output), nil
}

type syncRequest struct {
	ProviderConfigKey string     `json:"providerConfigKey"`
	ConnectionID      string     `json:"connectionId"`
	Syncs             []SyncName `json:"syncs"`
	Opts              *struct {
		Reset      bool `json:"reset"`
		EmptyCache bool `json:"emptyCache"`
	} `json:"opts"`
	Mode string `json:"syncMode"`
}

func (in *syncRequest) selection() Selection {
	return Selection{in.ProviderConfigKey, in.ConnectionID, in.Syncs}
}

var succeeded = []byte(`{"success":true}`)

func (h *host) syncTrigger(ctx context.Context, in syncRequest) ([]byte, error) {
	opts, ok := ModeOptions(in.Mode)
	if !ok {
		return nil, refuse("invalid_sync_mode", "There is no sync mode "+in.Mode)
	}
	if in.Opts != nil {
		opts = TriggerOptions{in.Opts.Reset, in.Opts.EmptyCache}
	}
	if err := h.Trigger(ctx, h.x.env, in.selection(), opts); err != nil {
		return nil, platform(err)
	}
	return succeeded, nil
}

func (h *host) syncStart(ctx context.Context, in syncRequest) ([]byte, error) {
	if err := h.StartSyncs(ctx, h.x.env, in.selection()); err != nil {
		return nil, platform(err)
	}
	return succeeded, nil
}
