package host

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
func (h *Host) connectionGet(ctx context.Context, in connectionRequest) ([]byte, error) {
	i, err := h.services.Integrations.Get(ctx, h.subject.Environment.ID, in.ProviderConfigKey)
	if errors.Is(err, integration.ErrNotFound) {
		err = errs.Newf(http.StatusBadRequest, "unknown_provider_config",
			"There is no integration %q in this environment", in.ProviderConfigKey).Because(err)
	}
	if err != nil {
		return nil, platform(err)
	}
	c, err := h.services.Connections.Get(ctx, i, in.ConnectionID)
	if err != nil {
		return nil, platform(err)
	}
	h.services.Connections.Touch(c)
	fresh, err := h.services.Fresh.Ensure(ctx, i, c, in.ForceRefresh || in.RefreshAppToken)
	if err != nil {
		return nil, platform(err)
	}
	h.subject.Hide(fresh, i)
	view := connection.ViewOf(fresh, isoOffset)
	if !in.RefreshToken {
		view = view.WithoutRefreshToken(fresh)
	}
	return Encode(view), nil
}

// integrationGet answers with the data of GET /integrations/{key}.
func (h *Host) integrationGet(_ context.Context, in struct {
	Include []string `json:"include"`
}) ([]byte, error) {
	i := h.subject.Integration
	view := integration.ViewOf(i, h.subject.Provider, h.services.PublicURL)
	for _, part := range in.Include {
		switch part {
		case "webhook":
			url := integration.WebhookURL(i, h.subject.Provider, h.services.PublicURL, h.subject.Environment.UUID)
			view.WebhookURL = &url
		case "credentials":
			var err error
			if view.Credentials, err = integration.CredentialsView(i, h.subject.Provider); err != nil {
				return nil, err
			}
		}
	}
	return Encode(view), nil
}

type metadataRequest struct {
	Metadata json.RawMessage `json:"metadata"`
}

func (h *Host) metadataSet(ctx context.Context, in metadataRequest) ([]byte, error) {
	return h.metadata(ctx, in, http.StatusCreated, false)
}

func (h *Host) metadataUpdate(ctx context.Context, in metadataRequest) ([]byte, error) {
	return h.metadata(ctx, in, http.StatusOK, true)
}

// metadata changes the connection's metadata and answers like the API, which echoes what it was sent.
func (h *Host) metadata(ctx context.Context, in metadataRequest, status int, merge bool) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(in.Metadata, &fields); err != nil || fields == nil {
		return nil, platform(errs.Invalid("invalid_body", errs.Issue{
			Code: "invalid_type", Message: "Invalid input: expected object", Path: []string{"metadata"},
		}))
	}
	id := h.subject.Connection.ConnectionID
	if err := h.services.Connections.SetMetadata(ctx, h.subject.Integration, []string{id}, in.Metadata, merge); err != nil {
		return nil, platform(err)
	}
	return Encode(map[string]any{
		"status": status,
		"body":   map[string]any{"connection_id": id, "provider_config_key": h.subject.Integration.Key, "metadata": in.Metadata},
	}), nil
}

// environmentVariables reads them anew: an author who changes one expects to see it.
func (h *Host) environmentVariables(ctx context.Context, _ none) ([]byte, error) {
	all, err := h.services.Variables.Variables(ctx, h.subject.Environment)
	if err != nil {
		return nil, err
	}
	h.subject.HideVariables(all)
	type variable struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	views := make([]variable, len(all))
	for i, v := range all {
		views[i] = variable{v.Name, v.Value.Reveal()}
	}
	return Encode(views), nil
}

// maxDepth is how many actions may wait for each other: each holds a virtual machine.
const maxDepth = 8

// actionTrigger runs another action and waits for it.
func (h *Host) actionTrigger(ctx context.Context, in ActionRequest) ([]byte, error) {
	if h.subject.Depth >= maxDepth {
		return nil, refuse("too_many_nested_actions", "Actions have called each other too often")
	}
	output, err := h.services.Platform.TriggerAction(ctx, h.subject.Environment, in, h.subject.Depth+1)
	if err != nil {
		return nil, platform(err)
	}
	return Member("output", output), nil
}

var succeeded = []byte(`{"success":true}`)

func (h *Host) syncTrigger(ctx context.Context, in SyncRequest) ([]byte, error) {
	if err := h.services.Platform.TriggerSyncs(ctx, h.subject.Environment, in); err != nil {
		return nil, platform(err)
	}
	return succeeded, nil
}

func (h *Host) syncStart(ctx context.Context, in SyncRequest) ([]byte, error) {
	if err := h.services.Platform.ResumeSyncs(ctx, h.subject.Environment, in); err != nil {
		return nil, platform(err)
	}
	return succeeded, nil
}
