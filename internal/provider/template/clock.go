package template

import (
	"strconv"
	"strings"
	"time"
)

// A clockExpr is a parsed ${now…}. The zero value is plain ${now}.
type clockExpr struct {
	offset int
	unit   string // as written, "" without an offset
	format []clockToken
}

// A clockToken is a format token ("YYYY") or, with literal set, text as it stands.
type clockToken struct {
	text    string
	literal bool
}

// isoFormat is ISO 8601 with milliseconds in UTC.
const isoFormat = "2006-01-02T15:04:05.000Z"

// parseClock reads "now", "now:format" and "now+7:days:format". Anything else, an offset without a format included, is no
// clock expression and gives nil.
func parseClock(expr string) *clockExpr {
	rest, ok := strings.CutPrefix(expr, "now")
	if !ok {
		return nil
	}
	if rest == "" {
		return &clockExpr{}
	}
	if format, ok := strings.CutPrefix(rest, ":"); ok && format != "" {
		return &clockExpr{format: parseFormat(format)}
	}
	if rest[0] != '+' && rest[0] != '-' {
		return nil
	}
	parts := strings.SplitN(rest[1:], ":", 3)
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" || strings.Trim(parts[0], "0123456789") != "" {
		return nil
	}
	offset, err := strconv.Atoi(rest[:1] + parts[0])
	if err != nil || offset > maxOffset || offset < -maxOffset {
		return nil
	}
	return &clockExpr{offset: offset, unit: parts[1], format: parseFormat(parts[2])}
}

// maxOffset keeps time arithmetic far from overflow: a thousand years in seconds.
const maxOffset = 1000 * 366 * 86_400

func (c *clockExpr) append(buf []byte, now time.Time) []byte {
	t := c.shift(now.UTC())
	if c.format == nil {
		return t.AppendFormat(buf, isoFormat)
	}
	for _, token := range c.format {
		if token.literal {
			buf = append(buf, token.text...)
		} else {
			buf = appendToken(buf, token.text, t)
		}
	}
	return buf
}

// shift adds the offset. An unknown unit counts milliseconds.
func (c *clockExpr) shift(t time.Time) time.Time {
	if c.unit == "" {
		return t
	}
	unit, ok := unitLetters[c.unit]
	if !ok {
		unit = strings.TrimSuffix(strings.ToLower(c.unit), "s")
	}
	switch unit {
	case "year":
		return addMonths(t, 12*c.offset)
	case "month":
		return addMonths(t, c.offset)
	case "week":
		return t.AddDate(0, 0, 7*c.offset)
	case "day":
		return t.AddDate(0, 0, c.offset)
	case "hour":
		return addSeconds(t, 3600*c.offset)
	case "minute":
		return addSeconds(t, 60*c.offset)
	case "second":
		return addSeconds(t, c.offset)
	default:
		return time.UnixMilli(t.UnixMilli() + int64(c.offset)).UTC()
	}
}

// unitLetters are the short units. They are case-sensitive: M is months, m minutes.
var unitLetters = map[string]string{
	"M": "month", "y": "year", "w": "week", "d": "day", "D": "day", "h": "hour", "m": "minute", "s": "second",
}

// addSeconds is exact where time.Duration would overflow at 292 years.
func addSeconds(t time.Time, n int) time.Time {
	return time.Unix(t.Unix()+int64(n), int64(t.Nanosecond())).UTC()
}

// addMonths clamps to the last day of the month: 31 January plus one month is 28 or 29 February.
func addMonths(t time.Time, n int) time.Time {
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// tokenLengths are the longest token of each letter in a day.js format.
var tokenLengths = map[byte]int{'Y': 4, 'M': 4, 'D': 2, 'd': 4, 'H': 2, 'h': 2, 'a': 1, 'A': 1, 'm': 2, 's': 2, 'Z': 2, 'X': 1, 'x': 1}

// parseFormat splits a day.js format. [text] in brackets is literal, and so is every character that is no token.
func parseFormat(format string) []clockToken {
	var tokens []clockToken
	literal := func(text string) {
		if n := len(tokens); n > 0 && tokens[n-1].literal {
			tokens[n-1].text += text
		} else {
			tokens = append(tokens, clockToken{text: text, literal: true})
		}
	}
	for format != "" {
		if format[0] == '[' {
			if end := strings.IndexByte(format, ']'); end > 1 {
				literal(format[1:end])
				format = format[end+1:]
				continue
			}
		}
		if strings.HasPrefix(format, "SSS") {
			tokens, format = append(tokens, clockToken{text: "SSS"}), format[3:]
			continue
		}
		n := 0
		for n < tokenLengths[format[0]] && n < len(format) && format[n] == format[0] {
			n++
		}
		if n == 0 {
			literal(format[:1])
			format = format[1:]
			continue
		}
		tokens, format = append(tokens, clockToken{text: format[:n]}), format[n:]
	}
	return tokens
}

// goLayouts are the tokens that time.Format knows.
var goLayouts = map[string]string{
	"YY": "06", "Y": "2006", "YYY": "2006", "YYYY": "2006",
	"M": "1", "MM": "01", "MMM": "Jan", "MMMM": "January",
	"D": "2", "DD": "02", "ddd": "Mon", "dddd": "Monday",
	"HH": "15", "h": "3", "hh": "03", "a": "pm", "A": "PM",
	"m": "4", "mm": "04", "s": "5", "ss": "05",
}

func appendToken(buf []byte, token string, t time.Time) []byte {
	switch token {
	case "X":
		return strconv.AppendInt(buf, t.Unix(), 10)
	case "x":
		return strconv.AppendInt(buf, t.UnixMilli(), 10)
	case "H":
		return strconv.AppendInt(buf, int64(t.Hour()), 10)
	case "d":
		return strconv.AppendInt(buf, int64(t.Weekday()), 10)
	case "dd":
		return append(buf, t.Weekday().String()[:2]...)
	case "SSS":
		return append(buf, t.Format(".000")[1:]...)
	case "Z":
		return append(buf, "+00:00"...)
	case "ZZ":
		return append(buf, "+0000"...)
	default:
		return t.AppendFormat(buf, goLayouts[token])
	}
}
