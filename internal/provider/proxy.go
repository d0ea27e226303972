package provider

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// Proxy says how a request to the provider's API is built. Every text is read in the Wrapper dialect.
type Proxy struct {
	// BaseURL may be nil: then every request needs a base URL of its own.
	BaseURL *template.Template `json:"base_url"`
	// Headers have lower-case names and are sorted by them.
	Headers                  Placements    `json:"headers"`
	Query                    Placements    `json:"query"`
	Body                     template.Tree `json:"body"`
	Decompress               bool          `json:"decompress"`
	ForwardHeadersOnRedirect bool          `json:"forward_headers_on_redirect"`
	Retry                    Retry         `json:"retry"`
	Paginate                 *Paginate     `json:"paginate"`
	Verification             *Verification `json:"verification"`
}

// Placement is a header or a query parameter with its value.
type Placement struct {
	Name  string
	Value *template.Template
	// MentionsConfig is set when the value reads connectionConfig or integrationConfig, which decides what else a header can
	// read.
	MentionsConfig bool
	// ReadsRequest is set when the value reads facts about the outgoing request, ReadsBody when its body is among them.
	ReadsRequest, ReadsBody bool
}

// NewPlacement looks at a template once, so that nobody has to for each request.
func NewPlacement(name string, value *template.Template) Placement {
	p := Placement{Name: name, Value: value, MentionsConfig: mentionsConfig(value)}
	signs := value.Calls(template.Wrapper, "awsSigV4")
	for _, read := range value.Names(template.Wrapper) {
		p.ReadsRequest = p.ReadsRequest || slices.Contains(requestNames, read)
		p.ReadsBody = p.ReadsBody || read == "params" || read == "bodyCanonicalParams"
	}
	p.ReadsRequest, p.ReadsBody = p.ReadsRequest || signs, p.ReadsBody || signs
	return p
}

// requestNames are the facts about the outgoing request that header templates can read.
var requestNames = []string{"method", "host", "path", "endpoint", "params", "urlCanonicalParams", "bodyCanonicalParams", "contentType"}

func mentionsConfig(t *template.Template) bool {
	return strings.Contains(t.String(), "connectionConfig") || strings.Contains(t.String(), "integrationConfig")
}

// Placements are sorted by name.
type Placements []Placement

// UnmarshalJSON reads an object of texts.
func (p *Placements) UnmarshalJSON(data []byte) error {
	var values map[string]*template.Template
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	*p = make(Placements, 0, len(values))
	for name, value := range values {
		*p = append(*p, NewPlacement(name, value))
	}
	slices.SortFunc(*p, byName)
	return nil
}

// with returns a copy that also holds one more placement, in place of one of the same name.
func (p Placements) with(name string, value *template.Template) Placements {
	out := slices.DeleteFunc(slices.Clone(p), func(have Placement) bool { return have.Name == name })
	out = append(out, NewPlacement(name, value))
	slices.SortFunc(out, byName)
	return out
}

func byName(a, b Placement) int { return strings.Compare(a.Name, b.Name) }

// ReadsBody reports whether a header is computed from the request body, so that the body must be buffered.
func (p Proxy) ReadsBody() bool {
	return slices.ContainsFunc(p.Headers, func(h Placement) bool { return h.ReadsBody })
}

// Retry tells when a call may be tried again and how long to wait. Header names are lower-case.
type Retry struct {
	// After lists headers that hold seconds to wait; the longest wait counts.
	After []string `json:"after"`
	// At lists headers that hold a moment: epoch seconds, epoch milliseconds or a date. It wins over After.
	At []string `json:"at"`
	// Remaining is a header whose value 0 makes any error status retryable, as with providers that refuse with 403.
	Remaining string `json:"remaining"`
	// ErrorCodes replace the statuses that are retried by default, unless empty.
	ErrorCodes []StatusRange `json:"error_code"`
	InBody     *RetryInBody  `json:"in_body"`
}

// StatusRange is a range of HTTP statuses, both ends included.
type StatusRange struct{ From, To int }

// UnmarshalText reads "429", "5xx" or "500-502".
func (s *StatusRange) UnmarshalText(text []byte) error {
	from, to, isRange := strings.Cut(strings.ReplaceAll(string(text), "xx", "00"), "-")
	if !isRange {
		to = from
	}
	var err1, err2 error
	s.From, err1 = strconv.Atoi(from)
	s.To, err2 = strconv.Atoi(to)
	if strings.HasSuffix(string(text), "xx") {
		s.To += 99
	}
	if err1 != nil || err2 != nil || s.From < 100 || s.To > 599 || s.From > s.To {
		return fmt.Errorf("%q is no HTTP status, class (5xx) or range (500-502)", text)
	}
	return nil
}

// Contains reports whether status lies in the range.
func (s StatusRange) Contains(status int) bool { return s.From <= status && status <= s.To }

// Covers reports whether the provider names the statuses that are retried, and whether status is one of them.
func (r Retry) Covers(status int) (named, retry bool) {
	return len(r.ErrorCodes) > 0, slices.ContainsFunc(r.ErrorCodes, func(s StatusRange) bool { return s.Contains(status) })
}

// RetryInBody reads the waiting time from an error's JSON body.
type RetryInBody struct {
	// Path is the dotted path of a string.
	Path string `json:"path"`
	// Value has one group, which captures the number or the date.
	Value Pattern `json:"value"`
	// Strategy is "after" (seconds) or "at" (a moment).
	Strategy string `json:"strategy"`
}

// Pattern is a regular expression in Go's syntax (RE2).
type Pattern struct{ *regexp.Regexp }

// UnmarshalText compiles the pattern.
func (p *Pattern) UnmarshalText(text []byte) error {
	re, err := regexp.Compile(string(text))
	if err != nil {
		return fmt.Errorf("%q is no regular expression: %w", text, err)
	}
	p.Regexp = re
	return nil
}

// Paginate is how lists of this API are paged, for functions that ask for all pages.
type Paginate struct {
	// Type is "cursor", "link" or "offset".
	Type string `json:"type"`

	CursorNameInRequest  string `json:"cursor_name_in_request"`
	CursorPathInResponse string `json:"cursor_path_in_response"`

	LinkRelInResponseHeader string `json:"link_rel_in_response_header"`
	LinkPathInResponseBody  string `json:"link_path_in_response_body"`

	OffsetNameInRequest string `json:"offset_name_in_request"`
	OffsetStartValue    int    `json:"offset_start_value"`
	// OffsetCalculationMethod is "by-response-size" (default) or "per-page".
	OffsetCalculationMethod string `json:"offset_calculation_method"`

	LimitNameInRequest string `json:"limit_name_in_request"`
	// ResponsePath is empty when the answer itself is the list.
	ResponsePath string `json:"response_path"`
}

// Verification is a call that only works with good credentials.
type Verification struct {
	// Method is GET unless the file says otherwise.
	Method string `json:"method"`
	// Endpoints are paths; each is tried and the first 2xx passes. They may name credentials.
	Endpoints       []*template.Template `json:"endpoints"`
	BaseURLOverride *template.Template   `json:"base_url_override"`
	Headers         Placements           `json:"headers"`
	Data            template.Tree        `json:"data"`
}

// The integration_config keys that place an API key, for providers whose operator decides about it.
const (
	keyPlacement  = "keyPlacement"
	keyName       = "keyName"
	valueTemplate = "valueTemplate"
	baseURL       = "baseUrl"
)

// ProxyFor is Proxy with the placement an integration chose: its API key goes into the header or query parameter keyName,
// as valueTemplate writes it, and baseUrl replaces the base URL. A provider without integration_config, or an
// integration without keyName, changes nothing. Keep the result: its templates are parsed by this call.
func (p *Provider) ProxyFor(integrationConfig map[string]string) Proxy {
	proxy := p.Proxy
	name := integrationConfig[keyName]
	if len(p.IntegrationConfig) == 0 || name == "" {
		return proxy
	}
	text := integrationConfig[valueTemplate]
	if text == "" {
		text = "${apiKey}"
	}
	if integrationConfig[keyPlacement] == "query" {
		proxy.Query = proxy.Query.with(name, template.Parse(text))
	} else {
		proxy.Headers = proxy.Headers.with(strings.ToLower(name), template.Parse(text))
	}
	if base := integrationConfig[baseURL]; base != "" {
		proxy.BaseURL = template.Parse(base)
	}
	return proxy
}
