package oauth

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// milliseconds is the number from which a moment counts as milliseconds since 1970: as seconds it would be past the year 3966,
// as milliseconds it is in 1971.
const milliseconds = 6.3e10

// longest is what a lifetime is cut to, so that nonsense does not overflow.
const longest = 100 * 365 * 24 * time.Hour

// expiry reads expires_at, or else expires_in, of an answer; the zero time when there is neither. With zeroExpires an
// expires_in of 0 means that the token has expired, else that nothing is known.
func expiry(values map[string]any, unit time.Duration, zeroExpires bool, now time.Time) time.Time {
	if at := moment(values["expires_at"], now); !at.IsZero() {
		return at
	}
	count, ok := integerPrefix(values["expires_in"])
	if !ok || count == 0 && !zeroExpires {
		return time.Time{}
	}
	if count > int64(longest/unit) {
		return now.Add(longest).UTC()
	}
	return now.Add(max(time.Duration(count)*unit, 0)).UTC()
}

// moment reads seconds or milliseconds since 1970, a date, or a lifetime as D:HH:MM. Digits in quotes are none of these.
func moment(v any, now time.Time) time.Time {
	switch v := v.(type) {
	case json.Number:
		n, err := v.Float64()
		switch {
		case err != nil || n <= 0 || n >= 1e15:
			return time.Time{}
		case n >= milliseconds:
			return time.UnixMilli(int64(n)).UTC()
		default:
			return time.UnixMilli(int64(n * 1000)).UTC()
		}
	case string:
		if m := lifetime.FindStringSubmatch(v); m != nil {
			return now.Add(dhm(m)).UTC()
		}
		for _, layout := range dates {
			if t, err := time.Parse(layout, v); err == nil {
				return t.UTC()
			}
		}
	}
	return time.Time{}
}

// dates are the layouts that token endpoints use. A date without a zone is taken for UTC.
var dates = []string{
	time.RFC3339, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700",
	time.RFC1123, time.RFC1123Z, time.DateOnly,
}

// lifetime is D:HH:MM with at most 36,500 days, hours below 24 and minutes below 60.
var lifetime = regexp.MustCompile(`^(\d{1,5}):([01]?\d|2[0-3]):([0-5]?\d)$`)

func dhm(match []string) time.Duration {
	var n [3]int
	for i := range n {
		value, err := strconv.Atoi(match[i+1])
		if err != nil { // at most five digits
			panic(err)
		}
		n[i] = value
	}
	const day = 24 * time.Hour
	return min(time.Duration(n[0])*day, longest) + time.Duration(n[1])*time.Hour + time.Duration(n[2])*time.Minute
}

// integerPrefix reads a number, or the digits that a text begins with.
func integerPrefix(v any) (int64, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Float64(); err == nil {
			return int64(max(min(n, 1e15), -1e15)), true
		}
		return 0, false
	case string:
		text = strings.TrimSpace(v)
	default:
		return 0, false
	}
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && text[end] == '-') {
		end++
	}
	n, err := strconv.ParseInt(text[:end], 10, 64)
	return n, err == nil
}
