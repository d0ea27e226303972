package api

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

// readConnectionCredentials reads the credentials of an import: an object whose members depend on its type.
func readConnectionCredentials(b *input.Reader) importedCredentials {
	c := b.Object("credentials", true)
	if c == nil {
		return importedCredentials{}
	}
	mode := provider.AuthMode(c.String("type", input.Text{}))
	in := importedCredentials{mode: mode, fields: map[string]any{}}
	need := func(limit int, names ...string) {
		for _, name := range names {
			in.fields[name] = c.String(name, input.Text{Required: true, Min: 1, Max: limit})
		}
	}
	may := func(limit int, names ...string) {
		for _, name := range names {
			in.fields[name] = c.String(name, input.Text{Min: 1, Max: limit})
		}
	}
	expires := func() { in.fields["expires_at"] = readDate(c, "expires_at") }
	withRaw := false
	switch mode {
	case provider.OAuth2:
		need(16384, "access_token")
		may(16384, "refresh_token")
		expires()
		if o := c.Object("config_override", false); o != nil {
			override := map[string]string{}
			for name, limit := range map[string]int{"client_id": 255, "client_secret": 2048} {
				if v := o.String(name, input.Text{Min: 1, Max: limit}); v != "" {
					override[name] = v
				}
			}
			o.Strict()
			in.fields["config_override"] = override
		}
		withRaw = true
	case provider.OAuth2CC:
		need(4096, "token")
		need(255, "client_id")
		need(2048, "client_secret")
		may(10000, "client_certificate", "client_private_key")
		expires()
		withRaw = true
	case provider.APIKey:
		need(1024, "apiKey")
	case provider.Basic:
		for _, name := range []string{"username", "password"} {
			in.fields[name] = c.String(name, input.Text{Required: true, Max: 1024})
		}
	case provider.None:
	default:
		c.Issue("invalid_union", "Invalid input", "type")
		return in
	}
	c.Strict()
	if withRaw {
		raw := map[string]any{"type": mode}
		for name, v := range in.fields {
			if at, isTime := v.(time.Time); isTime {
				if at.IsZero() {
					continue
				}
				v = isoZ(at)
			}
			if v != "" {
				raw[name] = v
			}
		}
		in.fields["raw"] = raw
	}
	return in
}

// readDate reads an ISO date or milliseconds since 1970; absent gives the zero time.
func readDate(c *input.Reader, name string) time.Time {
	if !c.Has(name) {
		return time.Time{}
	}
	raw := c.JSON(name)
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t.UTC()
			}
		}
	} else if ms, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return time.UnixMilli(int64(ms)).UTC()
	}
	c.Issue("invalid_type", "Invalid input: expected date, received Invalid Date", name)
	return time.Time{}
}
