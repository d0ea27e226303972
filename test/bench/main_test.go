package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLinesOfBenchmarksAreRead(t *testing.T) {
	t.Parallel()
	out := "goos: linux\nBenchmarkA-2   \t 100\t  1500 ns/op\t 12 B/op\nBenchmarkB/some-name-16 1 2.5 x-bare\nBenchmarkC/10-2 3 7 ns/op\nPASS\nok x 1s\n"
	want := map[string]map[string]float64{
		"BenchmarkA": {"ns/op": 1500, "B/op": 12}, "BenchmarkB/some-name": {"x-bare": 2.5}, "BenchmarkC/10": {"ns/op": 7},
	}
	if diff := cmp.Diff(want, parse([]byte(out))); diff != "" {
		t.Error(diff)
	}
}

func TestAFigureOverItsLimitIsMarked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		row  row
		over bool
	}{
		{row{value: 1.6, limit: 1.5}, true},
		{row{value: 1.5, limit: 1.5}, false},
		{row{value: 1000}, false},
	} {
		if got := test.row.over(); got != test.over {
			t.Errorf("%v over %v: %t, want %t", test.row.value, test.row.limit, got, test.over)
		}
	}
}
