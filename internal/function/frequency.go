package function

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// MinFrequency is the shortest distance of two runs of a sync.
const MinFrequency = 30 * time.Second

// Errors of a frequency.
var (
	ErrFrequency = errs.New(http.StatusBadRequest, "sync_interval_invalid",
		`The frequency is not understood: write "every 5 minutes", "every hour", "every half hour", "every day" or the like`).AsLegacy()
	ErrFrequencyTooShort = errs.New(http.StatusBadRequest, "sync_interval_too_short",
		"A sync can run every 30 seconds at the most").AsLegacy()
)

// named are the frequencies with a name of their own, and the text that stands for each.
var named = map[string]string{
	"every half day": "12h", "every half hour": "30m", "every quarter hour": "15m", "every hour": "1h", "every day": "1d",
	"every week": "1w", "every month": "30d",
}

// interval is a number and a unit, in any letter case, with or without a blank between.
var interval = regexp.MustCompile(`(?i)^(-?(?:\d+)?\.?\d+) *(` +
	`ms|milliseconds?|msecs?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?|y|yrs?|years?)?$`)

// Frequency is how often a sync runs.
type Frequency struct {
	// Text is the interval without "every", with named ones spelled out: "5 minutes", "1h".
	Text   string
	Period time.Duration
}

// ParseFrequency reads a frequency such as "every 5 minutes", "every hour" or "30s". What it does not understand is ErrFrequency,
// and what is shorter than MinFrequency is ErrFrequencyTooShort.
func ParseFrequency(text string) (Frequency, error) {
	short, ok := named[text]
	if !ok {
		short = strings.Replace(text, "every ", "", 1)
	}
	parts := interval.FindStringSubmatch(short)
	if parts == nil || len(short) > 100 {
		return Frequency{}, ErrFrequency.Because(fmt.Errorf("frequency %q", text))
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return Frequency{}, ErrFrequency.Because(err)
	}
	micros := number * float64(unit(strings.ToLower(parts[2])).Microseconds())
	switch {
	case micros < float64(MinFrequency.Microseconds()):
		return Frequency{}, ErrFrequencyTooShort.Because(fmt.Errorf("frequency %q", text))
	case micros > math.MaxInt64/float64(time.Microsecond):
		return Frequency{}, ErrFrequency.Because(fmt.Errorf("frequency %q is longer than the calendar", text))
	}
	return Frequency{short, time.Duration(micros) * time.Microsecond}, nil
}

// unit is what a unit's name stands for; none means milliseconds.
func unit(name string) time.Duration {
	switch {
	case name == "" || strings.HasPrefix(name, "ms") || strings.HasPrefix(name, "mil"):
		return time.Millisecond
	case name[0] == 's':
		return time.Second
	case name[0] == 'm':
		return time.Minute
	case name[0] == 'h':
		return time.Hour
	case name[0] == 'd':
		return 24 * time.Hour
	case name[0] == 'w':
		return 7 * 24 * time.Hour
	default: // a year is 365.25 days
		return 8766 * time.Hour
	}
}
