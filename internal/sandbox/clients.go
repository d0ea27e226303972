package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Client is an application registered with Acme's OAuth server.
type Client struct {
	ID string
	// Secret empty makes a public client, which must use PKCE and may not use client_credentials.
	Secret secret.Text
	// RedirectURIs are compared as whole strings.
	RedirectURIs []string
	// Open accepts, besides RedirectURIs, any http(s) address on this machine: a loopback address, localhost, or a name
	// under .localhost or .test (reserved by RFC 6761).
	Open bool
}

func (s *Server) register(clients []Client) error {
	if len(clients) == 0 {
		clients = []Client{{ID: DefaultClientID, Secret: secret.New(DefaultClientSecret), Open: true}}
	}
	for _, c := range clients {
		if c.ID == "" {
			return errors.New("sandbox: a client has no id")
		}
		if _, taken := s.clients[c.ID]; taken {
			return fmt.Errorf("sandbox: client %q is registered twice", c.ID)
		}
		if len(c.RedirectURIs) == 0 && !c.Open && c.Secret.IsEmpty() {
			return fmt.Errorf("sandbox: client %q can do nothing: no secret, no redirect URI, not open", c.ID)
		}
		s.clients[c.ID] = c
	}
	return nil
}

// redirectURI returns where an authorisation may be sent. An empty wanted means the only registered one; false means
// that there is no such place, and nothing may be redirected.
func (c Client) redirectURI(wanted string) (string, bool) {
	if wanted == "" {
		if len(c.RedirectURIs) != 1 || c.Open {
			return "", false
		}
		return c.RedirectURIs[0], true
	}
	return wanted, slices.Contains(c.RedirectURIs, wanted) || c.Open && isLocal(wanted)
}

// isLocal reports whether raw is an absolute http(s) URL to this machine, without user info or fragment.
func isLocal(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Contains(raw, "#") {
		return false
	}
	host := strings.ToLower(u.Hostname())
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".test")
}
