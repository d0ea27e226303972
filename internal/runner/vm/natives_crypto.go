package vm

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"

	"github.com/google/uuid"
)

func nativeUUID([]string) (any, error) { return uuid.NewString(), nil }

// maxRandom bounds one request for random bytes. Web Crypto stops at 65,536, Node at 2 GiB; nothing real asks for more than
// this at once.
const maxRandom = 1 << 20

// nativeRandom (length) returns random bytes.
func nativeRandom(args []string) (any, error) {
	n, err := strconv.Atoi(arg(args, 0))
	if err != nil || n < 0 || n > maxRandom {
		return nil, fmt.Errorf("the number of random bytes must be between 0 and %d", maxRandom)
	}
	buf := make([]byte, n)
	_, _ = rand.Read(buf) // never fails
	return base64.StdEncoding.EncodeToString(buf), nil
}

// algorithm knows the digests that functions may ask for: md5 and sha1 because third parties sign with them.
func algorithm(name string) (func() hash.Hash, bool) {
	switch name {
	case "md5":
		return md5.New, true
	case "sha1":
		return sha1.New, true
	case "sha224":
		return sha256.New224, true
	case "sha256":
		return sha256.New, true
	case "sha384":
		return sha512.New384, true
	case "sha512":
		return sha512.New, true
	}
	return nil, false
}

// nativeHash (algorithm, encoding, form, data): data is text when form is "text", else base64.
func nativeHash(args []string) (any, error) {
	newHash, ok := algorithm(arg(args, 0))
	if !ok {
		return nil, fmt.Errorf("unsupported digest %q", arg(args, 0))
	}
	data, err := payload(arg(args, 2), arg(args, 3))
	if err != nil {
		return nil, err
	}
	h := newHash()
	h.Write(data)
	return digest(h.Sum(nil), arg(args, 1)), nil
}

// nativeHMAC (algorithm, encoding, form, data, key as base64).
func nativeHMAC(args []string) (any, error) {
	newHash, ok := algorithm(arg(args, 0))
	if !ok {
		return nil, fmt.Errorf("unsupported digest %q", arg(args, 0))
	}
	data, err := payload(arg(args, 2), arg(args, 3))
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(arg(args, 4))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	h := hmac.New(newHash, key)
	h.Write(data)
	return digest(h.Sum(nil), arg(args, 1)), nil
}

func payload(form, data string) ([]byte, error) {
	if form == "text" {
		return []byte(data), nil
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("bytes: %w", err)
	}
	return raw, nil
}

func digest(sum []byte, encoding string) string {
	switch encoding {
	case "hex":
		return hex.EncodeToString(sum)
	case "base64url":
		return base64.RawURLEncoding.EncodeToString(sum)
	}
	return base64.StdEncoding.EncodeToString(sum)
}
