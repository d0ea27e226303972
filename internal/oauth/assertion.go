package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// assertionLife is how long a client assertion is good for: longer than clocks differ, too short to be of use to a thief.
const assertionLife = 5 * time.Minute

// webKey is an RSA private key as a JSON Web Key (RFC 7518 §6.3). The factors p and q are required.
type webKey struct {
	Type string `json:"kty"`
	ID   string `json:"kid"`
	N    string `json:"n"`
	E    string `json:"e"`
	D    string `json:"d"`
	P    string `json:"p"`
	Q    string `json:"q"`
}

// signAssertion makes the client assertion of RFC 7523 §2.2: RS256, signed with a JSON Web Key, issued by and about the client.
func signAssertion(key secret.Text, clientID, audience string, now time.Time, id string) (string, error) {
	kid, private, err := parseWebKey(key)
	if err != nil {
		return "", err
	}
	head := marshal(map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid})
	claims := marshal(map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": id, "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	unsigned := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(unsigned))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	if err != nil {
		return "", &KeyError{Problem: "the client's private key can't sign", cause: err}
	}
	return unsigned + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func parseWebKey(key secret.Text) (kid string, private *rsa.PrivateKey, err error) {
	var k webKey
	if err := json.Unmarshal([]byte(key.Reveal()), &k); err != nil || k.Type != "RSA" {
		return "", nil, &KeyError{Problem: "the client's private key is no RSA JSON Web Key", cause: err}
	}
	var numbers [5]*big.Int
	for i, text := range []string{k.N, k.E, k.D, k.P, k.Q} {
		data, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(data) == 0 {
			return "", nil, &KeyError{Problem: "the client's private key misses a member", cause: err}
		}
		numbers[i] = new(big.Int).SetBytes(data)
	}
	private = &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: numbers[0], E: int(numbers[1].Int64())}, D: numbers[2], Primes: numbers[3:]}
	if err := private.Validate(); err != nil {
		return "", nil, &KeyError{Problem: "the client's private key is not consistent", cause: err}
	}
	private.Precompute()
	return k.ID, private, nil
}

// certified makes a client that shows the end user's certificate.
func (c *Client) certified(cc ClientCredentials) (PoolDoer, error) {
	if c.opts.WithCertificate == nil {
		return nil, &KeyError{Problem: "client certificates are not available"}
	}
	certificate, err := tls.X509KeyPair([]byte(cc.Certificate.Reveal()), []byte(cc.PrivateKey.Reveal()))
	if err != nil {
		return nil, &KeyError{Problem: "the client certificate and its private key can't be used", cause: err}
	}
	return c.opts.WithCertificate(certificate), nil
}
