package vault

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// MasterKeyVariable is the environment variable that messages tell the operator to set.
const MasterKeyVariable = "PATCHBAY_ENCRYPTION_KEY"

// masterKeySize is the length of an AES-256 key.
const masterKeySize = 32

// Source says where the master key came from.
type Source string

// The sources.
const (
	FromOperator Source = "operator" // Options.MasterKey
	FromFile     Source = "file"     // Options.KeyFile
)

// master is the key that seals the keysets.
type master struct {
	aead   tink.AEAD
	id     string
	source Source
}

// GenerateMasterKey makes a key in the form that ParseMasterKey reads.
func GenerateMasterKey() secret.Text {
	key := make([]byte, masterKeySize)
	_, _ = rand.Read(key) // never fails
	return secret.New(base64.StdEncoding.EncodeToString(key))
}

// parseMaster reads a master key: 32 bytes in base64, standard alphabet, with or without padding. name is what the operator
// calls the setting; the key itself is never in the error.
func parseMaster(text secret.Text, name string, source Source) (master, error) {
	const hint = "make one with `openssl rand -base64 32`"
	trimmed := strings.TrimRight(strings.TrimSpace(text.Reveal()), "=")
	key, err := base64.RawStdEncoding.Strict().DecodeString(trimmed)
	if err != nil {
		return master{}, fmt.Errorf("%s is not base64: %s", name, hint)
	}
	if len(key) != masterKeySize {
		return master{}, fmt.Errorf("%s decodes to %d bytes, want %d: %s", name, len(key), masterKeySize, hint)
	}
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: masterKeySize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantNoPrefix,
	})
	if err != nil {
		return master{}, fmt.Errorf("%s: %w", name, err)
	}
	tinkKey, err := aesgcm.NewKey(secretdata.NewBytesFromData(key, insecuresecretdataaccess.Token{}), 0, parameters)
	if err != nil {
		return master{}, fmt.Errorf("%s: %w", name, err)
	}
	primitive, err := aesgcm.NewAEAD(tinkKey)
	if err != nil {
		return master{}, fmt.Errorf("%s: %w", name, err)
	}
	return master{aead: primitive, id: masterID(key), source: source}, nil
}

// masterID names a master key without giving anything of it away, so that messages can say which key is meant.
func masterID(key []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte("patchbay master key id")) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil)[:4])
}

// errNoKeyFile is what readKeyFile gives when there is no file.
var errNoKeyFile = errors.New("no key file")

// readKeyFile reads the master key at path, and whether others than the owner may read it.
func readKeyFile(path string) (_ master, exposed bool, _ error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return master{}, false, errNoKeyFile
	}
	if err != nil {
		return master{}, false, fmt.Errorf("read the key file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return master{}, false, fmt.Errorf("read the key file: %w", err)
	}
	m, err := parseMaster(secret.New(string(text)), "the key file "+path, FromFile)
	return m, info.Mode().Perm()&0o077 != 0, err
}

// writeKeyFile creates path with mode 0600. It never replaces a file, and a crash leaves either the whole file or none. An
// existing file is an error that is fs.ErrExist.
func writeKeyFile(path string, key secret.Text) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("create the key file: %w", err)
	}
	file, err := os.CreateTemp(folder, ".key-*") // CreateTemp makes it 0600
	if err != nil {
		return fmt.Errorf("create the key file: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // the linked name stays
	_, err = file.WriteString(key.Reveal() + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Link(file.Name(), path)
	}
	if err == nil {
		err = syncFolder(folder)
	}
	if err != nil {
		return fmt.Errorf("create the key file (or set %s and none is needed): %w", MasterKeyVariable, err)
	}
	return nil
}

// syncFolder makes a new name in folder survive power loss.
func syncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
