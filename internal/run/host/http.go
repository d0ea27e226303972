package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/proxy"
)

// maxBody is how much of an answer a function gets: a virtual machine has 128 MiB, and the text exists twice in it.
const maxBody = 48 << 20

type httpRequest struct {
	Method                   string            `json:"method"`
	Endpoint                 string            `json:"endpoint"`
	BaseURLOverride          string            `json:"baseUrlOverride"`
	ProviderConfigKey        string            `json:"providerConfigKey"`
	ConnectionID             string            `json:"connectionId"`
	Headers                  map[string]string `json:"headers"`
	Params                   json.RawMessage   `json:"params"`
	Data                     *string           `json:"data"`
	DataBase64               []byte            `json:"dataBase64"`
	ResponseType             string            `json:"responseType"`
	Retries                  int               `json:"retries"`
	RetryOn                  []int             `json:"retryOn"`
	Decompress               *bool             `json:"decompress"`
	ForwardHeadersOnRedirect *bool             `json:"forwardHeadersOnRedirect"`
}

type httpReply struct {
	Status          int            `json:"status"`
	StatusText      string         `json:"statusText"`
	Headers         map[string]any `json:"headers"`
	Body            string         `json:"body,omitempty"`
	BodyBase64      []byte         `json:"bodyBase64,omitempty"`
	URL             string         `json:"url,omitempty"`
	ConnectionStale bool           `json:"connectionStale,omitempty"`
}

func (h *Host) http(ctx context.Context, in httpRequest) ([]byte, error) {
	call, err := h.call(in)
	if err != nil {
		return nil, err
	}
	res, err := h.services.Proxy.Do(ctx, call)
	if err != nil {
		return nil, callFailed(err)
	}
	defer res.Body.Close()
	body, err := readBody(res.Body)
	if err != nil {
		return nil, callFailed(err)
	}
	reply := httpReply{
		Status: res.Status, StatusText: http.StatusText(res.Status), Headers: replyHeaders(res.Header), URL: res.URL(), ConnectionStale: res.Unauthorized,
	}
	reply.setBody(body, in.ResponseType == "arraybuffer" || in.ResponseType == "stream")
	return Encode(reply), nil
}

// call makes the proxied call of a request.
func (h *Host) call(in httpRequest) (proxy.Call, error) {
	path, err := target(in.Endpoint, in.Params)
	if err != nil {
		return proxy.Call{}, err
	}
	if path == "" && in.BaseURLOverride == "" {
		return proxy.Call{}, refuse("missing_api_url", "The request has neither an endpoint nor a base URL")
	}
	packed := true
	call := proxy.Call{
		Environment: h.subject.Environment, Ref: proxy.Ref{IntegrationKey: h.subject.Integration.Key, ConnectionID: h.subject.Connection.ConnectionID},
		Method: in.Method, Path: path, BaseURL: in.BaseURLOverride, Header: http.Header{}, Decompress: in.Decompress,
		ForwardHeadersOnRedirect: in.ForwardHeadersOnRedirect, Retries: max(in.Retries, 0), RetryOn: in.RetryOn, Operation: h.subject.Operation,
	}
	if chosen := (proxy.Ref{IntegrationKey: in.ProviderConfigKey, ConnectionID: in.ConnectionID}); in.ConnectionID != "" && chosen != call.Ref {
		call.Credentials = &chosen
	}
	for name, value := range in.Headers {
		if name != "user-agent" { // it is the platform's
			call.Header.Set(name, value)
		}
	}
	call.ContentType = call.Header.Get("Content-Type")
	if call.Decompress == nil { // the function gets text in any case, so it may as well travel packed
		call.Decompress = &packed
	}
	body := in.DataBase64
	if in.Data != nil {
		body = []byte(*in.Data)
	}
	if len(body) > 0 {
		call.Body, call.ContentLength = bytes.NewReader(body), int64(len(body))
		call.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	return call, nil
}

// target joins an endpoint and parameters. Parameters that come as text must not meet a query in the endpoint; those that come
// as pairs replace parameters of the same name, in the order in which they come.
func target(endpoint string, params json.RawMessage) (string, error) {
	path := endpoint
	if path != "" && !strings.HasPrefix(path, "/") && !isAbsolute(path) {
		path = "/" + path
	}
	if len(params) == 0 || string(params) == "null" {
		return path, nil
	}
	if params[0] == '"' {
		var text string
		if err := json.Unmarshal(params, &text); err != nil {
			return "", badRequest(err)
		}
		if text = strings.TrimPrefix(text, "?"); text == "" {
			return path, nil
		}
		if strings.Contains(path, "?") {
			return "", refuse("invalid_query_params", "The endpoint has a query already: give the parameters in one of the two")
		}
		return path + "?" + text, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal(params, &pairs); err != nil {
		return "", badRequest(err)
	}
	if len(pairs) == 0 {
		return path, nil
	}
	return setParams(path, pairs), nil
}

func isAbsolute(endpoint string) bool {
	scheme, _, found := strings.Cut(endpoint, "://")
	return found && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// setParams sets query parameters as URLSearchParams.set does.
func setParams(path string, pairs [][2]string) string {
	path, fragment, hasFragment := strings.Cut(path, "#")
	path, query, _ := strings.Cut(path, "?")
	var all [][2]string
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		all = append(all, [2]string{unescape(name), unescape(value)})
	}
	for _, pair := range pairs {
		at := slices.IndexFunc(all, func(have [2]string) bool { return have[0] == pair[0] })
		if at < 0 {
			all = append(all, pair)
			continue
		}
		all[at] = pair
		rest := slices.DeleteFunc(all[at+1:], func(have [2]string) bool { return have[0] == pair[0] })
		all = all[:at+1+len(rest)]
	}
	var b strings.Builder
	b.WriteString(path)
	for i, pair := range all {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(url.QueryEscape(pair[0]) + "=" + url.QueryEscape(pair[1]))
	}
	if hasFragment {
		b.WriteString("#" + fragment)
	}
	return b.String()
}

// unescape decodes as far as possible: what is no escape stays.
func unescape(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

// misuse are the codes of calls that can't be made; they reach the author as plain errors. Any other refusal is one of
// credentials, and looks like an answer of the platform.
var misuse = []string{
	"missing_api_url", "unknown_provider", "unsupported_provider", "invalid_query_params", "invalid_certificate_or_key_format",
	"base_url_override_disabled", "base_url_override_not_allowed", "proxy_redirect_to_denied_host", "unsupported_auth", "invalid_body",
}

// callFailed words the failure of a proxied call.
func callFailed(err error) error {
	var network *proxy.NetworkError
	var known *errs.Error
	switch {
	case errors.As(err, &network):
		code := network.Code
		if code == "" {
			code = "ERR_NETWORK" // an upper-case code says that there was no answer
		}
		return refuse(code, network.Message)
	case errors.Is(err, errTooLarge):
		return refuse("response_too_large", "The answer is larger than a function can take")
	case errors.As(err, &known) && slices.Contains(misuse, known.Code):
		return plain(err)
	}
	return platform(err)
}

var errTooLarge = errors.New("answer too large")

func readBody(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		return nil, errTooLarge
	}
	return body, err
}

func (r *httpReply) setBody(body []byte, asBytes bool) {
	switch {
	case asBytes || !utf8.Valid(body):
		r.BodyBase64 = body
	default:
		r.Body = string(body)
	}
}

// replyHeaders are headers as the SDK takes them: lower-case names, a list where there are several.
func replyHeaders(h http.Header) map[string]any {
	all := make(map[string]any, len(h))
	for name, values := range h {
		if len(values) == 1 {
			all[strings.ToLower(name)] = values[0]
		} else {
			all[strings.ToLower(name)] = values
		}
	}
	return all
}

type fetchRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"`
}

// fetch makes one hop of a request without credentials.
func (h *Host) fetch(ctx context.Context, in fetchRequest) ([]byte, error) {
	var body io.Reader
	if in.Body != nil {
		body = strings.NewReader(*in.Body)
	}
	req, err := http.NewRequestWithContext(ctx, in.Method, in.URL, body)
	if err != nil {
		return nil, refuse("url_not_allowed", "The URL is not one that can be fetched")
	}
	for name, value := range in.Headers {
		req.Header.Set(name, value)
	}
	res, err := h.services.Fetch.Do(req)
	if err != nil {
		return nil, fetchFailed(err)
	}
	defer res.Body.Close()
	data, err := readBody(res.Body)
	if errors.Is(err, errTooLarge) {
		return nil, callFailed(err)
	}
	if err != nil {
		return nil, fetchFailed(err)
	}
	reply := httpReply{Status: res.StatusCode, StatusText: http.StatusText(res.StatusCode), Headers: replyHeaders(res.Header)}
	reply.setBody(data, false)
	return Encode(reply), nil
}

func fetchFailed(err error) error {
	if denied, ok := errors.AsType[*egress.DeniedError](err); ok {
		return refuse("url_not_allowed", "The outbound policy refuses this address: "+string(denied.Reason))
	}
	code := egress.Code(err)
	if code == "" {
		code = "UND_ERR_SOCKET"
	}
	return refuse(code, egress.NodeMessage(err))
}
