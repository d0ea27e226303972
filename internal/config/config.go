// Package config is how the operator sets up a process: one struct, filled from flags, environment variables and a file.
//
// Each setting has one name. A flag --public-url, the variable PATCHBAY_PUBLIC_URL and the line "public-url: …" of the
// configuration file are the same setting; the flag wins over the variable, the variable over the file, the file over the
// default. Unknown keys in the file and values that don't parse are errors; nothing is guessed.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// EnvPrefix starts the names of all environment variables of Patchbay's own.
const EnvPrefix = "PATCHBAY_"

// Role is what a process does. One process usually does everything.
type Role string

// The roles.
const (
	All    Role = "all"    // API and worker
	API    Role = "api"    // answers requests, runs no jobs
	Worker Role = "worker" // runs jobs, answers health checks only
)

// Config is the whole set-up of a process. Fields that the comments don't explain are explained by the flag of the same name.
type Config struct {
	Host string
	// Port 0 picks a free one.
	Port      int
	PublicURL string
	DataDir   string
	// DatabaseURL picks PostgreSQL; empty means SQLite in DataDir.
	DatabaseURL   secret.Text
	EncryptionKey secret.Text
	Role          Role
	LogFormat     string
	LogLevel      slog.Level

	// Egress is the outbound policy as JSON; empty means the default, which reaches public addresses only.
	Egress string
	// EgressAllow are further allow entries: host:port, host suffix, or CIDR.
	EgressAllow []string

	ProvidersDir  string
	Retention     time.Duration
	Workers       int
	RunnerMemory  int // MB per function
	ShutdownGrace time.Duration
	NodePath      string
	InsecureHTTP  bool

	// EnvironmentKeys are API keys given by variables PATCHBAY_SECRET_KEY_<ENV> or NANGO_SECRET_KEY_<ENV>, by environment name.
	EnvironmentKeys map[string]secret.Text
}

// Register declares the flags and returns the Config that Load fills.
func Register(flags *pflag.FlagSet) *Config {
	c := &Config{LogLevel: slog.LevelInfo, Role: All, EnvironmentKeys: map[string]secret.Text{}}
	flags.StringVar(&c.Host, "host", "", "address to listen on; empty means all")
	flags.IntVarP(&c.Port, "port", "p", 3003, "port to listen on; 0 picks a free one")
	flags.StringVar(&c.PublicURL, "public-url", "", "where clients reach this server (default http://localhost:PORT)")
	flags.StringVarP(&c.DataDir, "data", "d", "data", "folder for the database, logs and generated keys")
	flags.Var(secretValue{&c.DatabaseURL}, "database-url", "PostgreSQL URL for several nodes (default: SQLite in the data folder)")
	flags.Var(secretValue{&c.EncryptionKey}, "encryption-key",
		"base64 of 32 random bytes; better given as "+EnvPrefix+"ENCRYPTION_KEY (default: generated in the data folder)")
	flags.Var(roleValue{&c.Role}, "role", "what this process does: all, api or worker")
	flags.StringVar(&c.LogFormat, "log-format", "text", "the process's own log: text or json")
	flags.Var(levelValue{&c.LogLevel}, "log-level", "the process's own log: debug, info, warn or error")
	flags.StringVar(&c.Egress, "egress", "", "outbound policy as JSON (see docs/egress.md)")
	flags.StringSliceVar(&c.EgressAllow, "egress-allow", nil, "private target that may be reached: host:port, host suffix or CIDR; may be repeated")
	flags.StringVar(&c.ProvidersDir, "providers", "", "folder with provider files of your own, reloaded when they change (default DATA/providers)")
	flags.DurationVar(&c.Retention, "log-retention", 15*24*time.Hour, "how long operations and their messages are kept")
	flags.IntVar(&c.Workers, "workers", 0, "jobs that run at once; 0 means 16 per processor")
	flags.IntVar(&c.RunnerMemory, "function-memory", 128, "memory limit of one function run in MB")
	flags.DurationVar(&c.ShutdownGrace, "shutdown-grace", 20*time.Second, "how long running work may finish after SIGTERM")
	flags.StringVar(&c.NodePath, "node", "", "Node.js program for functions that need it")
	flags.BoolVar(&c.InsecureHTTP, "allow-http-webhooks", false, "let production environments have webhook URLs without TLS")
	return c
}

// Load fills what no flag set: from the environment, then from the file at path, which may be empty for none. environ is in
// the form of os.Environ.
func (c *Config) Load(flags *pflag.FlagSet, environ []string, path string) error {
	values, err := readFile(path)
	if err != nil {
		return err
	}
	source := map[string]string{}
	for name := range values {
		source[name] = path
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if environment, ok := keyVariable(name); ok && value != "" {
			c.EnvironmentKeys[environment] = secret.New(value)
			continue
		}
		setting, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || value == "" {
			continue
		}
		flagName := strings.ReplaceAll(strings.ToLower(setting), "_", "-")
		if flags.Lookup(flagName) != nil {
			values[flagName], source[flagName] = value, name
		}
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		flag := flags.Lookup(name)
		switch {
		case flag == nil:
			problems = append(problems, fmt.Errorf("%s: there is no setting %q", source[name], name))
		case flag.Changed:
		default:
			if err := flags.Set(name, values[name]); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", source[name], err))
			}
		}
	}
	return errors.Join(append(problems, c.validate())...)
}

// keyVariable reads the environment's name out of the name of a variable that holds its key.
func keyVariable(name string) (string, bool) {
	for _, prefix := range []string{"NANGO_SECRET_KEY_", EnvPrefix + "SECRET_KEY_"} {
		if environment, ok := strings.CutPrefix(name, prefix); ok && environment != "" {
			return strings.ToLower(environment), true
		}
	}
	return "", false
}

func readFile(path string) (map[string]string, error) {
	values := map[string]string{}
	if path == "" {
		return values, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var parsed map[string]any
	if err := yaml.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for name, v := range parsed {
		if list, ok := v.([]any); ok {
			parts := make([]string, len(list))
			for i := range list {
				parts[i] = fmt.Sprint(list[i])
			}
			v = strings.Join(parts, ",")
		}
		values[name] = fmt.Sprint(v)
	}
	return values, nil
}

func (c *Config) validate() error {
	var problems []error
	if c.Port < 0 || c.Port > 65535 {
		problems = append(problems, fmt.Errorf("port %d: want 0 to 65535", c.Port))
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			problems = append(problems, fmt.Errorf("public-url %q: want http://… or https://…", c.PublicURL))
		}
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		problems = append(problems, fmt.Errorf("log-format %q: want text or json", c.LogFormat))
	}
	if c.Retention < 24*time.Hour {
		problems = append(problems, fmt.Errorf("log-retention %s: want at least 24h, logs are dropped by the day", c.Retention))
	}
	if c.RunnerMemory < 16 || c.RunnerMemory > 4096 {
		problems = append(problems, fmt.Errorf("function-memory %d: want 16 to 4096 MB", c.RunnerMemory))
	}
	return errors.Join(problems...)
}

// Summary lists the settings for the start-up log; secrets say only whether they are set.
func (c *Config) Summary() []slog.Attr {
	database := "sqlite"
	if !c.DatabaseURL.IsEmpty() {
		database = "postgres"
	}
	return []slog.Attr{
		slog.String("data", c.DataDir), slog.String("database", database), slog.String("role", string(c.Role)), slog.String("public_url", c.PublicURL),
		slog.Duration("log_retention", c.Retention), slog.Bool("encryption_key_given", !c.EncryptionKey.IsEmpty()),
		slog.Int("environment_keys", len(c.EnvironmentKeys)),
	}
}
