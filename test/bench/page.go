package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one figure of the page.
type row struct {
	what  string
	value float64
	unit  string
	// limit is the most that the project allows; 0 is none.
	limit   float64
	command string
}

func (r row) over() bool { return r.limit > 0 && r.value > r.limit }

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, found := strings.CutPrefix(line, "model name"); found {
				model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("%d processors (%s), %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

func render(on string, rows []row) string {
	var b strings.Builder
	b.WriteString("# Performance\n\n" +
		"`make bench` measures these figures and writes this page. Times of operations are processor time, not waiting time, and ratios are\n" +
		"taken within one run, so a busy machine changes them little; start-up is waiting time. Limits are for two processors.\n\n" +
		"Measured on " + on + ".\n\n" +
		"| what | measured | limit |\n|---|---|---|\n")
	for i, r := range rows {
		limit := "–"
		if r.limit > 0 {
			limit = number(r.limit) + " " + r.unit
		}
		measured := number(r.value) + " " + r.unit
		if r.over() {
			measured = "**" + measured + ", over**"
		}
		fmt.Fprintf(&b, "| %s [%d] | %s | %s |\n", r.what, i+1, measured, limit)
	}
	b.WriteString("\nThe commands, in the order of the table:\n\n```sh\n")
	for i, r := range rows {
		fmt.Fprintf(&b, "# %d\n%s\n", i+1, r.command)
	}
	b.WriteString("```\n")
	return b.String()
}

// number writes a figure with three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
