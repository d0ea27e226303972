package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

const (
	defaultServer = "http://localhost:3003"
	// serverPatience is how long one answer may take. A deployment of thousands of functions takes seconds.
	serverPatience = 5 * time.Minute
	// maxServerError is how much of an answer that is an error is read, in bytes.
	maxServerError = 1 << 20
)

// serverFlags are the flags of commands that ask a running server.
type serverFlags struct{ url, key, env string }

func (f *serverFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "url", "", "where the server is (default $PATCHBAY_URL or "+defaultServer+")")
	flags.StringVar(&f.key, "key", "", "secret key (default $PATCHBAY_SECRET_KEY_<ENV>, $PATCHBAY_SECRET_KEY or $NANGO_SECRET_KEY)")
	flags.StringVarP(&f.env, "env", "e", "", "environment, to take its key from $PATCHBAY_SECRET_KEY_<ENV>")
}

// client finds the server and the key among the flags and the variables. A variable that names the environment goes before one
// that does not.
func (f *serverFlags) client(getenv func(string) string) (*serverClient, error) {
	address := f.url
	if address == "" {
		address = getenv("PATCHBAY_URL")
	}
	if address == "" {
		address = defaultServer
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usageError{fmt.Errorf("--url %s: want something like %s", address, defaultServer)}
	}
	suffix := ""
	if f.env != "" {
		suffix = "_" + strings.ToUpper(strings.ReplaceAll(f.env, "-", "_"))
	}
	key := f.key
	for _, name := range []string{"PATCHBAY_SECRET_KEY" + suffix, "NANGO_SECRET_KEY" + suffix, "PATCHBAY_SECRET_KEY", "NANGO_SECRET_KEY"} {
		if key == "" {
			key = getenv(name)
		}
	}
	if key == "" {
		return nil, usageError{fmt.Errorf("no secret key: set PATCHBAY_SECRET_KEY%s or use --key. `patchbay key show` prints one", suffix)}
	}
	return &serverClient{base: base, key: secret.New(key)}, nil
}

// serverClient talks to the user's own server, whose address the user gave.
type serverClient struct {
	base *url.URL
	key  secret.Text
}

// serverRequest is one call; only Path is required.
type serverRequest struct {
	Method string // GET unless set
	Path   string
	Query  url.Values
	Header map[string]string
	Body   any // sent as JSON unless nil
}

// open sends a request and gives the body of an answer with status 200. A refusal is an *errs.Error.
func (c *serverClient) open(ctx context.Context, r serverRequest) (io.ReadCloser, error) {
	var body io.Reader
	if r.Body != nil {
		data, err := json.Marshal(r.Body)
		if err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	target := c.base.JoinPath(r.Path)
	target.RawQuery = r.Query.Encode()
	request, err := http.NewRequestWithContext(ctx, r.Method, target.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	request.Header.Set("User-Agent", "patchbay/"+Version())
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request) //nolint:forbidigo // no server process, and no address but the user's
	if err != nil {
		return nil, fmt.Errorf("no answer from %s (is the server running? --url says where): %w", c.base, errors.Unwrap(err))
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer func() { _ = answer.Body.Close() }() // an error was read
	return nil, c.refusal(answer)
}

func (c *serverClient) refusal(answer *http.Response) error {
	var body struct {
		Error struct {
			Code    string       `json:"code"`
			Message string       `json:"message"`
			Errors  []errs.Issue `json:"errors"`
		} `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(answer.Body, maxServerError)).Decode(&body) != nil || body.Error.Code == "" {
		return fmt.Errorf("%s answers %s: is it a Patchbay server?", c.base, answer.Status)
	}
	refusal := errs.New(answer.StatusCode, body.Error.Code, body.Error.Message)
	refusal.Issues = body.Error.Errors
	return refusal
}

// call is open for an answer that is one JSON value, which is read into v.
func (c *serverClient) call(ctx context.Context, r serverRequest, v any) error {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	body, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // all was read
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil
}
