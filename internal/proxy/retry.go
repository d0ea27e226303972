package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

const (
	// maxRetries keeps a mistyped number from hammering an API: ten exponential waits already take more than an hour.
	maxRetries = 10
	// firstWait doubles with each attempt up to maxBackoff. maxHinted is the longest wait told by an API that is kept; a longer
	// one is a quota of the day, and the caller does better to come back itself.
	firstWait  = 3 * time.Second
	maxBackoff = 10 * time.Minute
	maxHinted  = time.Hour
	// defaultMaxWait is what a caller of the HTTP API is kept waiting: load balancers and browsers give up soon after.
	defaultMaxWait = time.Minute
	// jitterShare is how much longer than computed a wait may be.
	jitterShare = 0.1
)

// retryable are the network faults after which another attempt may go better. ENOTFOUND is not among them: a name that does not
// exist is a typing error.
var retryable = []string{
	egress.CodeReset, egress.CodeTimedOut, egress.CodeAborted, egress.CodeRefused, egress.CodeHostUnreachable, egress.CodeTryAgain,
}

// retryPlan decides when an answer counts as failed, and how long to wait before the next attempt.
type retryPlan struct {
	rules provider.Retry
	on    []int
}

// failed reports whether the answer is worth another attempt. 401 is not by itself: the same credentials get the same answer.
func (p *retryPlan) failed(res *http.Response) bool {
	status := res.StatusCode
	if status >= 200 && status < 300 {
		return false
	}
	named, covered := p.rules.Covers(status)
	switch {
	case slices.Contains(p.on, status), p.exhausted(res):
		return true
	case named:
		return covered
	}
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// exhausted reports whether the answer says that no calls are left.
func (p *retryPlan) exhausted(res *http.Response) bool {
	return p.rules.Remaining != "" && res.Header.Get(p.rules.Remaining) == "0"
}

var (
	standard = []string{"retry-after"} // RFC 9110 section 10.2.3
	// commonResets are rate-limit headers that many APIs send without their catalog entry saying so. They count only when the
	// limit is reached, because they stand on other answers too.
	commonResets = []string{"ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"}
)

// told reads from an answer how long to wait: the provider's own headers, Retry-After, the common reset headers, the body.
func (p *retryPlan) told(res *http.Response, now time.Time) (time.Duration, bool) {
	sources := [][]string{p.rules.At, p.rules.After, standard}
	if res.StatusCode == http.StatusTooManyRequests || p.exhausted(res) {
		sources = append(sources, commonResets)
	}
	for _, names := range sources {
		if wait, ok := longest(res.Header, names, now); ok {
			return wait, true
		}
	}
	return p.toldInBody(res, now)
}

func longest(h http.Header, names []string, now time.Time) (wait time.Duration, found bool) {
	for _, name := range names {
		if d, ok := waitOf(h.Get(name), now); ok && (!found || d > wait) {
			wait, found = d, true
		}
	}
	return wait, found
}

// Numbers are told apart by size: since 2001 an epoch has ten digits in seconds and thirteen in milliseconds, and nobody asks
// for a wait of thirty years.
const (
	epochSeconds = 1e9
	epochMillis  = 1e11
)

// waitOf reads the forms in which APIs say when to come back: seconds from now, epoch seconds, epoch milliseconds, a date. What
// lies in the past says nothing.
func waitOf(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	var at time.Time
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		switch {
		case math.IsNaN(n) || n < 0 || n > 1e15:
			return 0, false
		case n >= epochMillis:
			at = time.UnixMilli(int64(n))
		case n >= epochSeconds:
			at = time.UnixMilli(int64(n * 1000))
		default:
			return time.Duration(n * float64(time.Second)), true
		}
	} else if at, err = http.ParseTime(value); err != nil {
		if at, err = time.Parse(time.RFC3339, value); err != nil {
			return 0, false
		}
	}
	wait := at.Sub(now)
	return wait, wait > 0
}

// maxHint is how much of an error's body is read for a hint.
const maxHint = 64 << 10

// toldInBody reads the hint that some APIs put into the JSON of an error. The body can be read again afterwards.
func (p *retryPlan) toldInBody(res *http.Response, now time.Time) (time.Duration, bool) {
	rule := p.rules.InBody
	if rule == nil || rule.Value.Regexp == nil {
		return 0, false
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxHint))
	res.Body = &rejoined{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	if err != nil {
		return 0, false
	}
	var v any
	if json.Unmarshal(head, &v) != nil {
		return 0, false
	}
	for name := range strings.SplitSeq(rule.Path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(at) {
				return 0, false
			}
			v = at[i]
		default:
			return 0, false
		}
	}
	text, _ := v.(string)
	match := rule.Value.FindStringSubmatch(text)
	if len(match) < 2 {
		return 0, false
	}
	return waitOf(match[1], now)
}

// rejoined is a body of which a part was read and put back.
type rejoined struct {
	io.Reader
	io.Closer
}

// backoff is the wait when nobody told one. attempt counts from 0.
func backoff(attempt int, jitter float64) time.Duration {
	wait := min(firstWait<<min(attempt, maxRetries), maxBackoff)
	return wait + time.Duration(float64(wait)*jitterShare*jitter)
}
