package template

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
)

// compute runs a function on evaluated arguments. False means it has no result and the call stays in the text: a key that
// can't be read, or an empty required argument of awsSigV4.
func (e *evaluation) compute(fn string, args []string) (string, bool) {
	switch fn {
	case "base64":
		return base64.StdEncoding.EncodeToString([]byte(args[0])), true
	case "sha256Hex":
		sum := sha256.Sum256([]byte(args[0]))
		return hex.EncodeToString(sum[:]), true
	case "sha256Base64":
		sum := sha256.Sum256([]byte(args[0]))
		return base64.StdEncoding.EncodeToString(sum[:]), true
	case "hmacSha1Hex":
		mac := hmac.New(sha1.New, []byte(args[1]))
		mac.Write([]byte(args[0]))
		return hex.EncodeToString(mac.Sum(nil)), true
	case "ed25519Sign":
		return ed25519Sign(args[0], args[1])
	case "fingerprint":
		return fingerprint(args[0])
	case "awsSigV4":
		return e.awsSigV4(args)
	default:
		return "", false
	}
}

// ed25519Sign signs message with a PKCS #8 PEM key and returns standard base64.
func ed25519Sign(message, pemKey string) (string, bool) {
	block, _ := pem.Decode([]byte(pemKey))
	if block == nil {
		return "", false
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", false
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(message))), true
}

// fingerprint returns the standard base64 of the SHA-256 of the public key (DER, SubjectPublicKeyInfo). The PEM may hold
// the public key or the private key (PKCS #8, PKCS #1, SEC 1) it belongs to.
func fingerprint(pemKey string) (string, bool) {
	block, _ := pem.Decode([]byte(pemKey))
	if block == nil {
		return "", false
	}
	public, ok := publicKey(block.Bytes)
	if !ok {
		return "", false
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", false
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:]), true
}

func publicKey(der []byte) (crypto.PublicKey, bool) {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		return key, true
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch k := key.(type) {
		case *rsa.PrivateKey:
			return k.Public(), true
		case *ecdsa.PrivateKey:
			return k.Public(), true
		case ed25519.PrivateKey:
			return k.Public(), true
		}
		return nil, false
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key.Public(), true
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key.Public(), true
	}
	return nil, false
}
