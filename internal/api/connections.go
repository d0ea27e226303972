package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

// Connections are the rules of connections.
type Connections interface {
	Get(ctx context.Context, i *integration.Integration, connectionID string) (*connection.Connection, error)
	List(ctx context.Context, environmentID int64, filter connection.Filter) ([]connection.Connection, error)
	Import(ctx context.Context, i *integration.Integration, c connection.Connection) (*connection.Connection, connection.Operation, error)
	Patch(ctx context.Context, i *integration.Integration, connectionID string, p connection.Patch) error
	SetMetadata(ctx context.Context, i *integration.Integration, connectionIDs []string, metadata json.RawMessage, merge bool) error
	Delete(ctx context.Context, i *integration.Integration, connectionID string) (bool, error)
	Touch(c *connection.Connection)
}

// Fresh makes credentials fresh before they are handed out.
type Fresh interface {
	// Ensure returns the connection with credentials that are good for a while, refreshing them when they are about to expire
	// or when force is set. A refusal is an *errs.Error with the status of the wire contract.
	Ensure(ctx context.Context, i *integration.Integration, c *connection.Connection, force bool) (*connection.Connection, error)
}

const connectionScope = "environment:connections:"

func (s *Server) connectionRoutes() {
	read := access{connectionScope + "read", connectionScope + "read_credentials"}
	list := access{connectionScope + "list", connectionScope + "list_credentials"}
	// The singular paths are the older names of the same routes.
	for _, base := range []string{"/connections", "/connection"} {
		s.json(http.MethodGet, base, list, s.listConnections)
		s.json(http.MethodGet, base+"/:connectionId", read, s.getConnection)
		s.json(http.MethodDelete, base+"/:connectionId", access{connectionScope + "delete"}, s.deleteConnection)
		s.json(http.MethodPost, base+"/metadata", access{connectionScope + "update"}, s.setMetadata)
		s.json(http.MethodPatch, base+"/metadata", access{connectionScope + "update"}, s.updateMetadata)
	}
	s.json(http.MethodPost, "/connections", access{connectionScope + "create"}, s.importConnection)
	s.json(http.MethodPatch, "/connections/:connectionId", access{connectionScope + "update"}, s.patchConnection)
}

type connectionListItem struct {
	connection.Row

	Created string `json:"created"`
}

func (s *Server) listConnections(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	short := input.Text{Min: 1, Max: 255}
	filter := connection.Filter{
		ConnectionID: q.String("connectionId", short), Search: q.String("search", short), EndUserID: q.String("endUserId", short),
		OrganizationID: q.String("endUserOrganizationId", short), Tags: readTags(q, "tags"), Limit: q.Int("limit", 0, 1, 2000),
	}
	filter.Offset = q.Int("page", 0, 0, 1<<31) * filter.Limit
	for key := range strings.SplitSeq(q.String("integrationId", input.Text{}), ",") {
		if key = strings.TrimSpace(key); key != "" {
			filter.Integrations = append(filter.Integrations, key)
		}
	}
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	all, err := s.opts.Connections.List(r.Context(), r.env(), filter)
	if err != nil {
		return err
	}
	rows := make([]connectionListItem, len(all))
	for i := range all {
		rows[i] = connectionListItem{connection.RowOf(&all[i]), isoMicros(all[i].CreatedAt)}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"connections": rows})
}

func (s *Server) getConnection(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	key := q.String("provider_config_key", input.IntegrationKey)
	refreshToken := q.Flag("refresh_token", false)
	force := q.Flag("force_refresh", false)
	appToken := q.Flag("refresh_github_app_jwt_token", false)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	id, err := connectionParam(r)
	if err != nil {
		return err
	}
	secrets := r.principal.Allows(connectionScope + "read_credentials")
	if !secrets && (refreshToken || force || appToken) {
		return forbid("This needs a key with the scope " + connectionScope + "read_credentials")
	}
	i, err := s.opts.Integrations.Get(r.Context(), r.env(), key)
	if err != nil {
		return unknownConfig(err, key)
	}
	c, err := s.opts.Connections.Get(r.Context(), i, id)
	if err != nil {
		return err
	}
	if secrets {
		s.opts.Connections.Touch(c)
		stale := c
		if c, err = s.opts.Fresh.Ensure(r.Context(), i, c, force); err != nil {
			return refreshRefused(err, stale)
		}
	}
	v := connection.ViewOf(c, isoOffset)
	if !refreshToken {
		v = v.WithoutRefreshToken(c)
	}
	if !secrets {
		v.Credentials = json.RawMessage("{}")
	}
	return writeJSON(w, http.StatusOK, v)
}

// refreshRefused is the answer when credentials can't be made fresh: the refusal, with the connection but no credentials.
func refreshRefused(err error, c *connection.Connection) error {
	var refusal *errs.Error
	if !errors.As(err, &refusal) {
		return err
	}
	v := connection.ViewOf(c, isoOffset).WithoutCredentials(c)
	payload := map[string]any{"connection": v, "type": refusal.Code}
	return errs.New(refusal.Status, "invalid_credentials", refusal.Message).WithPayload(payload).Because(err)
}

func connectionParam(r *request) (string, error) {
	p := input.Params(r.params)
	id := p.String("connectionId", input.ConnectionID)
	return id, p.Err("invalid_uri_params")
}

// unknownConfig is how most connection routes answer for an integration that does not exist.
func unknownConfig(err error, key string) error {
	if errors.Is(err, integration.ErrNotFound) {
		return errs.Newf(http.StatusBadRequest, "unknown_provider_config", "There is no integration %q in this environment", key).Because(err)
	}
	return err
}

func (s *Server) patchConnection(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	key := q.String("provider_config_key", input.IntegrationKey)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	body, err := s.body(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	patch := connection.Patch{EndUser: readEndUser(b, "end_user"), Tags: readTags(b, "tags")}
	if b.Has("webhook_url_override") {
		patch.WebhookURLOverride = new(string)
		*patch.WebhookURLOverride = s.readWebhookURL(b)
	}
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	id, err := connectionParam(r)
	if err != nil {
		return err
	}
	i, err := s.opts.Integrations.Get(r.Context(), r.env(), key)
	if err != nil {
		return unknownConfig(err, key)
	}
	if err := s.opts.Connections.Patch(r.Context(), i, id, patch); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, success)
}

func (s *Server) deleteConnection(w http.ResponseWriter, r *request) error {
	id, err := connectionParam(r)
	if err != nil {
		return err
	}
	q := input.Query(r.query())
	key := q.String("provider_config_key", input.IntegrationKey)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	i, err := s.opts.Integrations.Get(r.Context(), r.env(), key)
	if err == nil {
		var deleted bool
		if deleted, err = s.opts.Connections.Delete(r.Context(), i, id); err == nil {
			return writeJSON(w, http.StatusOK, map[string]bool{"success": deleted})
		}
	}
	if errors.Is(err, connection.ErrNotFound) || errors.Is(err, integration.ErrNotFound) {
		return errs.New(http.StatusBadRequest, "unknown_connection", "").Because(err)
	}
	return err
}

func (s *Server) setMetadata(w http.ResponseWriter, r *request) error {
	return s.changeMetadata(w, r, http.StatusCreated, false)
}

func (s *Server) updateMetadata(w http.ResponseWriter, r *request) error {
	return s.changeMetadata(w, r, http.StatusOK, true)
}

// changeMetadata echoes the request's body, byte for byte, as the contract says.
func (s *Server) changeMetadata(w http.ResponseWriter, r *request, status int, merge bool) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	ids := b.Strings("connection_id", input.ConnectionID, 0)
	key := b.String("provider_config_key", input.IntegrationKey)
	metadata := b.JSONObject("metadata", true)
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	i, err := s.opts.Integrations.Get(r.Context(), r.env(), key)
	if err == nil {
		err = s.opts.Connections.SetMetadata(r.Context(), i, ids, metadata, merge)
	}
	if errors.Is(err, integration.ErrNotFound) || errors.Is(err, connection.ErrNotFound) {
		return errs.New(http.StatusNotFound, "unknown_connection", "No connection with this id in this integration").Because(err)
	}
	if err != nil {
		return err
	}
	writeRaw(w, status, body)
	return nil
}

// readWebhookURL reads an optional URL that the outbound policy allows; the empty string clears.
func (s *Server) readWebhookURL(b *input.Reader) string {
	raw := b.String("webhook_url_override", input.Text{Nullable: true, Max: 2048})
	if raw == "" {
		return ""
	}
	if _, err := s.opts.URLs.CheckURL(raw); err != nil {
		b.Issue("custom", "The outbound policy refuses this URL: "+err.Error(), "webhook_url_override")
		return ""
	}
	return raw
}

// URLs checks a URL against the outbound policy, without a look-up of its host.
type URLs interface {
	CheckURL(raw string) (*url.URL, error)
}

var tagKey = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_\-./]*$`)

// readTags reads tags: at most ten, keys lower-cased, values of 1 to 255 characters.
func readTags(r *input.Reader, name string) map[string]string {
	given := r.StringMap(name, input.Text{Min: 1, Max: 255})
	return lowerTags(r, name, given)
}

func lowerTags(r *input.Reader, name string, given map[string]string) map[string]string {
	if given == nil {
		return nil
	}
	if len(given) > connection.MaxTags {
		r.Issue("custom", "Tags can't have more than 10 keys", name)
		return nil
	}
	tags := make(map[string]string, len(given))
	for key, value := range given {
		lower := strings.ToLower(key)
		switch {
		case !tagKey.MatchString(key) || len(key) > 64:
			r.Issue("invalid_key", "Invalid key in record", name, key)
		case tags[lower] != "":
			r.Issue("custom", "Two tags have the same key when written in lower case", name, key)
		case lower == "end_user_email" && !strings.Contains(value, "@"):
			r.Issue("invalid_format", "Invalid email address", name, key)
		}
		tags[lower] = value
	}
	return tags
}

// readEndUser reads an end user, nil when absent.
func readEndUser(r *input.Reader, name string) *connection.EndUser {
	u := r.Object(name, false)
	if u == nil {
		return nil
	}
	user := &connection.EndUser{
		ID:          u.String("id", input.Text{Required: true, Min: 1, Max: 255}),
		Email:       orNull(u.String("email", input.Text{Min: 5, Max: 255, Email: true})),
		DisplayName: orNull(u.String("display_name", input.Text{Max: 255})),
		Tags:        u.StringMap("tags", input.Text{Max: 255}),
	}
	if len(user.Tags) > connection.MaxTags {
		u.Issue("custom", "Tags can't have more than 10 keys", "tags")
	}
	u.Strict()
	return user
}

func (s *Server) importConnection(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	key := b.String("provider_config_key", input.Text{Required: true})
	c := connection.Connection{
		ConnectionID: b.String("connection_id", input.Text{Max: 255}),
		Metadata:     b.JSONObject("metadata", false),
		Config:       b.JSONObject("connection_config", false),
		EndUser:      readEndUser(b, "end_user"),
	}
	c.WebhookURLOverride = s.readWebhookURL(b)
	given := readTags(b, "tags")
	c.Tags = connection.TagsFrom(c.EndUser, given)
	if c.Metadata == nil {
		c.Metadata = json.RawMessage("{}")
	}
	credentials := readConnectionCredentials(b)
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	i, err := s.opts.Integrations.Get(r.Context(), r.env(), key)
	if err != nil {
		return err
	}
	p, ok := s.opts.Catalog.Get(i.Provider)
	if !ok {
		return errs.NotFound("The integration's provider is not in the catalog")
	}
	if credentials.mode != p.AuthMode {
		return refuse("The credentials are of the type %s, the provider %s takes %s", credentials.mode, i.Provider, p.AuthMode)
	}
	if c.Credentials, err = credentials.build(); err != nil {
		return err
	}
	givenUser := c.EndUser
	stored, _, err := s.opts.Connections.Import(r.Context(), i, c)
	if err != nil {
		return err
	}
	stored.EndUser = givenUser // the answer names an end user only if the body did
	return writeJSON(w, http.StatusCreated, connection.ViewOf(stored, isoZ))
}

// importedCredentials is what the body of an import carried.
type importedCredentials struct {
	mode   provider.AuthMode
	fields map[string]any
}

func (c importedCredentials) build() (connection.Credentials, error) {
	return connection.NewCredentials(c.mode, c.fields)
}
