package template

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider/weburl"
)

// UnresolvedError says that a placeholder had no value where leaving it in the text would do harm, such as in a host.
type UnresolvedError struct {
	// Name is the placeholder without "${" and "}", for instance "connectionConfig.subdomain".
	Name string
	// Place is the catalog key whose text holds it, for instance "proxy.base_url".
	Place string
}

func (e *UnresolvedError) Error() string {
	return fmt.Sprintf("%s needs a value for ${%s}", e.Place, e.Name)
}

// URLValues are what the placeholders of an OAuth or two-step URL can see.
//
// ConnectionConfig and Credentials are one name space: both prefixes may be left out of a placeholder, and a credential
// wins over a connection_config value of the same name. IntegrationConfig is reached by its prefix only. Every value is
// made text and percent-encoded; nil and empty values count as absent; maps can't be walked into, but a flat key that
// holds a dot can be reached.
type URLValues struct {
	ConnectionConfig  map[string]any
	Credentials       map[string]any
	IntegrationConfig map[string]string
	// Raw leaves the values as they are: the skip_encode rule "base_url" of the catalog.
	Raw bool
}

// URL fills in an OAuth or two-step URL in the Object dialect and parses it.
//
// A value at the very start of the text, or of a side of "||", is a base URL of its own and is not encoded:
// "${connectionConfig.base}/oauth". One that stands anywhere else can't leave its place: "/", "?", "#" and "@" in it
// arrive encoded, and in a host they make the URL invalid.
//
// Errors are *UnresolvedError or wrap weburl.ErrInvalid; place (a catalog key such as "token_url") is named in both.
func URL(t *Template, place string, values URLValues) (*url.URL, error) {
	heads := t.heads()
	layer := make(map[string]any, len(values.ConnectionConfig)+len(values.Credentials)+1)
	for _, fields := range []map[string]any{values.ConnectionConfig, values.Credentials} {
		for name, v := range fields {
			addURLValue(layer, name, v, values.Raw || heads[name])
		}
	}
	if len(values.IntegrationConfig) > 0 {
		integration := make(map[string]any, len(values.IntegrationConfig))
		for name, v := range values.IntegrationConfig {
			addURLValue(integration, name, v, values.Raw || heads["integrationConfig."+name])
		}
		layer["integrationConfig"] = integration
	}
	result := t.Eval(Object, &Scope{Layers: []map[string]any{layer}, Strip: urlPrefixes})
	if len(result.Missing) > 0 {
		return nil, &UnresolvedError{Name: result.Missing[0], Place: place}
	}
	u, err := weburl.Parse(result.Text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	return u, nil
}

var urlPrefixes = []string{"connectionConfig.", "credentials."}

func addURLValue(layer map[string]any, name string, v any, raw bool) {
	if v == nil {
		return
	}
	text := stringify(v)
	if text == "" {
		return
	}
	if !raw {
		text = encodeComponent(text)
	}
	layer[name] = text
}

// heads lists the names, without the stripped prefixes, of placeholders that begin the text or a side of "||".
func (t *Template) heads() map[string]bool {
	heads := map[string]bool{}
	if t == nil || t.object == nil {
		return heads
	}
	sides := []*program{t.object}
	if alt := t.object.alt; alt != nil {
		sides = []*program{alt.left, alt.right}
	}
	for _, side := range sides {
		if len(side.nodes) > 0 && side.nodes[0].kind == nodePath {
			name := side.nodes[0].text
			for _, prefix := range urlPrefixes {
				name = strings.TrimPrefix(name, prefix)
			}
			heads[name] = true
		}
	}
	return heads
}

// encodeComponent is ECMAScript's encodeURIComponent: everything but letters, digits and -_.!~*'() is escaped.
func encodeComponent(text string) string {
	escaped := strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	return componentMarks.Replace(escaped)
}

var componentMarks = strings.NewReplacer("%21", "!", "%2A", "*", "%27", "'", "%28", "(", "%29", ")")
