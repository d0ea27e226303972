package refresh

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

// Renewer gets new credentials in place of old ones of one auth mode.
type Renewer interface {
	// Renewable reports whether c holds what a renewal takes, such as a refresh token.
	Renewable(c *connection.Connection) bool
	// Renew asks for new credentials, once. It must return within oauth.Timeout, when its context ends. An error that is not a
	// *RenewalError is an internal fault and counts as temporary.
	Renew(ctx context.Context, i *integration.Integration, p *provider.Provider, c *connection.Connection) (Renewal, error)
}

// Renewal is what a Renewer got.
type Renewal struct {
	// Credentials replace the old ones: what is to stay must be in them.
	Credentials connection.Credentials
	// Config are members to set in the connection_config.
	Config map[string]any
}

// mergeConfig lays changes over a connection_config.
func mergeConfig(config json.RawMessage, changes map[string]any) (merged json.RawMessage, changed bool, err error) {
	if len(changes) == 0 {
		return config, false, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, false, fmt.Errorf("read connection_config: %w", err)
	}
	for name, value := range changes {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, false, fmt.Errorf("connection_config %s: %w", name, err)
		}
		if !bytes.Equal(fields[name], raw) {
			fields[name], changed = raw, true
		}
	}
	if !changed {
		return config, false, nil
	}
	merged, err = json.Marshal(fields)
	return merged, true, err
}
