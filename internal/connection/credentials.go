package connection

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Credentials is a connection's credential object: the JSON that is sealed at rest and that clients with the right scope get.
// Its fields depend on the auth mode (OAUTH2: access_token, refresh_token, expires_at, raw; API_KEY: apiKey; …). It is
// immutable and prints as [redacted].
type Credentials struct {
	mode   provider.AuthMode
	fields map[string]json.RawMessage
}

// NewCredentials makes credentials of a mode. Values are marshalled; a nil or empty string value leaves the field out, and
// times are written as ISO-8601 with milliseconds.
func NewCredentials(mode provider.AuthMode, fields map[string]any) (Credentials, error) {
	c := Credentials{mode: mode, fields: make(map[string]json.RawMessage, len(fields))}
	for name, v := range fields {
		if err := c.set(name, v); err != nil {
			return Credentials{}, err
		}
	}
	return c, nil
}

func (c Credentials) set(name string, v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if v == "" && name != "username" && name != "password" { // BASIC allows either to be empty
			return nil
		}
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return c.set(name, v.UTC().Format("2006-01-02T15:04:05.000Z"))
	case json.RawMessage:
		if len(v) > 0 {
			c.fields[name] = v
		}
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("credential field %s: %w", name, err)
	}
	c.fields[name] = raw
	return nil
}

// ParseCredentials reads what JSON wrote. An object without a type is that of a connection without credentials.
func ParseCredentials(data []byte) (Credentials, error) {
	c := Credentials{mode: provider.None}
	if err := json.Unmarshal(data, &c.fields); err != nil {
		return Credentials{}, fmt.Errorf("parse credentials: %w", err)
	}
	if mode := c.Text("type"); mode != "" {
		c.mode = provider.AuthMode(mode)
	}
	delete(c.fields, "type")
	return c, nil
}

// JSON is the object with its type first; {} for the mode NONE.
func (c Credentials) JSON() json.RawMessage {
	if c.mode == provider.None || c.mode == "" {
		return json.RawMessage("{}")
	}
	fields, err := json.Marshal(c.fields)
	if err != nil { // raw messages that were marshalled before
		panic(err)
	}
	head := fmt.Sprintf(`{"type":%q`, string(c.mode))
	if len(c.fields) == 0 {
		return json.RawMessage(head + "}")
	}
	return json.RawMessage(head + "," + string(fields[1:]))
}

// Mode is the auth mode the credentials are of.
func (c Credentials) Mode() provider.AuthMode { return c.mode }

// Text gives a string field, or "".
func (c Credentials) Text(name string) string {
	var s string
	if err := json.Unmarshal(c.fields[name], &s); err != nil {
		return ""
	}
	return s
}

// Expiry is expires_at, or the zero time when the credentials don't expire.
func (c Credentials) Expiry() time.Time {
	t, err := time.Parse(time.RFC3339, c.Text("expires_at"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// renewalDue is the expiry, if something can be done about it: OAuth 2 credentials without a refresh token only end.
func (c Credentials) renewalDue() time.Time {
	switch c.mode {
	case provider.OAuth2, provider.MCPOAuth2, provider.MCPOAuth2Generic:
		if c.Text("refresh_token") == "" {
			return time.Time{}
		}
	default: // other modes get new credentials with the secrets that they have
	}
	return c.Expiry()
}

// Without leaves out every field for which drop is true, at any depth.
func (c Credentials) Without(drop func(name string) bool) Credentials {
	kept := Credentials{mode: c.mode, fields: map[string]json.RawMessage{}}
	for name, raw := range c.fields {
		if !drop(name) {
			kept.fields[name] = Strip(raw, drop)
		}
	}
	return kept
}

// With returns a copy with fields set as NewCredentials does; an empty value removes nothing.
func (c Credentials) With(fields map[string]any) (Credentials, error) {
	next := Credentials{mode: c.mode, fields: make(map[string]json.RawMessage, len(c.fields)+len(fields))}
	maps.Copy(next.fields, c.fields)
	for name, v := range fields {
		if err := next.set(name, v); err != nil {
			return Credentials{}, err
		}
	}
	return next, nil
}

// Values gives the fields decoded, for templates. The result must not be kept or shown.
func (c Credentials) Values() map[string]any {
	values := make(map[string]any, len(c.fields))
	for name, raw := range c.fields {
		var v any
		if err := json.Unmarshal(raw, &v); err == nil {
			values[name] = v
		}
	}
	return values
}

// shortest is the length below which a string of the credentials is not treated as a secret: redacting "true" or "v1"
// everywhere would only make logs unreadable.
const shortest = 6

// Secrets gives every string inside that must never appear in a log.
func (c Credentials) Secrets() []secret.Text {
	var all []secret.Text
	var collect func(v any)
	collect = func(v any) {
		switch v := v.(type) {
		case string:
			if len(v) >= shortest {
				all = append(all, secret.New(v))
			}
		case []any:
			for _, item := range v {
				collect(item)
			}
		case map[string]any:
			for name, item := range v {
				if !public[strings.ToLower(name)] {
					collect(item)
				}
			}
		}
	}
	collect(c.Values())
	return all
}

// public fields of a token response carry no secret; hiding their values would hide ordinary words.
var public = map[string]bool{"type": true, "token_type": true, "scope": true, "scopes": true, "expires_at": true, "expires_in": true}

// Strip removes members for which drop is true from a JSON value, at any depth.
func Strip(raw json.RawMessage, drop func(name string) bool) json.RawMessage {
	switch firstByte(raw) {
	case '{':
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return raw
		}
		changed := false
		for name, inner := range fields {
			if drop(name) {
				delete(fields, name)
				changed = true
				continue
			}
			if next := Strip(inner, drop); string(next) != string(inner) {
				fields[name] = next
				changed = true
			}
		}
		if !changed {
			return raw
		}
		return mustMarshal(fields)
	case '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return raw
		}
		for i, item := range items {
			items[i] = Strip(item, drop)
		}
		return mustMarshal(items)
	default:
		return raw
	}
}

func mustMarshal(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil { // only raw messages that were parsed before
		panic(err)
	}
	return data
}

func firstByte(raw json.RawMessage) byte {
	for _, b := range raw {
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b
		}
	}
	return 0
}

// IsRefreshToken reports whether a member's name is some spelling of "refresh token", whose value is withheld unless asked for.
func IsRefreshToken(name string) bool {
	var letters strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' {
			letters.WriteRune(r)
		}
	}
	return letters.String() == "refreshtoken"
}

// String, GoString and LogValue keep credentials out of logs and messages.
func (c Credentials) String() string { return secret.Redacted }

// GoString is for %#v.
func (c Credentials) GoString() string { return secret.Redacted }

// LogValue is for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalJSON keeps credentials from being marshalled by accident; JSON gives the object.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(secret.Redacted) }
