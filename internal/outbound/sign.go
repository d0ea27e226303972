package outbound

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// The signature headers of the wire contract.
const (
	HeaderHMAC = "X-Nango-Hmac-Sha256"
	// HeaderLegacy is a plain hash of key and body, for receivers written long ago. It is open to length extension.
	HeaderLegacy = "X-Nango-Signature"
)

// sign sets the signatures of body, made with the current signing key.
func sign(h http.Header, key secret.Text, body []byte) {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write(body)
	h.Set(HeaderHMAC, hex.EncodeToString(mac.Sum(nil)))
	legacy := sha256.New()
	legacy.Write([]byte(key.Reveal()))
	legacy.Write(body)
	h.Set(HeaderLegacy, hex.EncodeToString(legacy.Sum(nil)))
}
