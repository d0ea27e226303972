package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/patchbay-dev/patchbay/internal/config"
)

func load(t *testing.T, args, environ []string, file string) (*config.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c := config.Register(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "patchbay.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c, c.Load(flags, environ, path)
}

func TestAFlagWinsOverAVariableAndAVariableOverTheFile(t *testing.T) {
	t.Parallel()
	c, err := load(t,
		[]string{"--port", "1"},
		[]string{"PATCHBAY_PORT=2", "PATCHBAY_DATA=/from/env", "PATH=/bin", "PATCHBAY_TEST_POSTGRES_URL=x", "PATCHBAY_LOG_LEVEL="},
		"port: 3\ndata: /from/file\nlog-retention: 48h\negress-allow: [a:1, b:2]\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 1 || c.DataDir != "/from/env" || c.Retention != 48*time.Hour || strings.Join(c.EgressAllow, " ") != "a:1 b:2" {
		t.Errorf("port %d, data %s, retention %s, allow %v", c.Port, c.DataDir, c.Retention, c.EgressAllow)
	}
}

func TestWrongSettingsAreAllNamedAndNothingIsGuessed(t *testing.T) {
	t.Parallel()
	_, err := load(t, nil, []string{"PATCHBAY_PORT=many", "PATCHBAY_ROLE=boss", "PATCHBAY_PUBLIC_URL=localhost"}, "prot: 1\nlog-format: xml\n")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"PATCHBAY_PORT", "PATCHBAY_ROLE", `"prot"`, "public-url", "log-format"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestSecretsAreReadAndNeverShown(t *testing.T) {
	t.Parallel()
	c, err := load(t, nil, []string{
		"PATCHBAY_ENCRYPTION_KEY=topsecret", "PATCHBAY_DATABASE_URL=postgres://u:topsecret@h/d", "NANGO_SECRET_KEY_DEV=topsecret", "PATCHBAY_SECRET_KEY_STAGING=topsecret",
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.EncryptionKey.Reveal() != "topsecret" || len(c.EnvironmentKeys) != 2 || c.EnvironmentKeys["staging"].Reveal() != "topsecret" {
		t.Errorf("keys %v", c.EnvironmentKeys)
	}
	for _, attr := range c.Summary() {
		if strings.Contains(attr.String(), "topsecret") {
			t.Errorf("the summary shows a secret: %s", attr)
		}
	}
}
