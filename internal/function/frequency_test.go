package function_test

import (
	"errors"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/function"
)

func TestFrequenciesAreReadAsTheContractSays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]function.Frequency{
		"every hour":         {Text: "1h", Period: time.Hour},
		"every half hour":    {Text: "30m", Period: 30 * time.Minute},
		"every quarter hour": {Text: "15m", Period: 15 * time.Minute},
		"every half day":     {Text: "12h", Period: 12 * time.Hour},
		"every day":          {Text: "1d", Period: 24 * time.Hour},
		"every week":         {Text: "1w", Period: 168 * time.Hour},
		"every month":        {Text: "30d", Period: 720 * time.Hour},
		"every 5 minutes":    {Text: "5 minutes", Period: 5 * time.Minute},
		"every 6min":         {Text: "6min", Period: 6 * time.Minute},
		"30s":                {Text: "30s", Period: 30 * time.Second},
		"1.5 Hours":          {Text: "1.5 Hours", Period: 90 * time.Minute},
		"45000":              {Text: "45000", Period: 45 * time.Second},
		"1y":                 {Text: "1y", Period: 8766 * time.Hour},
	} {
		got, err := function.ParseFrequency(text)
		if err != nil || got != want {
			t.Errorf("%q = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"": function.ErrFrequency, "hour": function.ErrFrequency, "every minute": function.ErrFrequency, "half hour": function.ErrFrequency,
		"Every hour": function.ErrFrequency, "* * * * *": function.ErrFrequency, "5 fortnights": function.ErrFrequency, "9e99y": function.ErrFrequency,
		"99999999999999y": function.ErrFrequency, "29s": function.ErrFrequencyTooShort, "every 10 seconds": function.ErrFrequencyTooShort,
		"-5m": function.ErrFrequencyTooShort, "0": function.ErrFrequencyTooShort,
	} {
		if got, err := function.ParseFrequency(text); !errors.Is(err, want) {
			t.Errorf("%q = %+v, %v; want %v", text, got, err, want)
		}
	}
}

// FuzzParseFrequency: what is accepted is at least MinFrequency, and reading what it is called again gives the same.
func FuzzParseFrequency(f *testing.F) {
	for _, seed := range []string{"every hour", "30s", "1.5h", "every 5 minutes", "9y", ".5d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := function.ParseFrequency(text)
		if err != nil {
			return
		}
		again, err := function.ParseFrequency(got.Text)
		if err != nil || again != got || got.Period < function.MinFrequency {
			t.Errorf("%q = %+v, then %+v, %v", text, got, again, err)
		}
	})
}
