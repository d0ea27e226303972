package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// benchmark is one `go test -bench` and the figures that are taken from it.
type benchmark struct {
	pkg, name, time string
	figures         []figure
}

// figure is one number of a benchmark's line.
type figure struct {
	// line is the benchmark's name without the number of processors, unit the number's unit in the line.
	line, unit string
	// scale makes what is shown of it; as is the unit of that.
	scale float64
	as    string
	what  string
	limit float64
}

func benchmarks() []benchmark {
	return []benchmark{
		{"./internal/store/storetest", "BenchmarkGetConnection", "3s", []figure{
			{"BenchmarkGetConnection", "ns/op", 1e-3, "µs", "read a connection: find the row, open its credentials, see that they are fresh", 60},
		}},
		{"./internal/proxy", "BenchmarkProxy2KB", "5s", []figure{
			{"BenchmarkProxy2KB", "x-bare", 1, "×", "proxy 2 KB, against a bare `httputil.ReverseProxy` in the same run", 2.5},
			{"BenchmarkProxy2KB", "µs-cpu/call", 1, "µs", "the same, client and third party included", 0},
		}},
		{"./internal/run", "BenchmarkWarmAction", "3s", []figure{
			{"BenchmarkWarmAction/trivial", "cpu-µs/op", 1e-3, "ms", "a warm trivial action, from the HTTP request to the answer, in all processes", 1.5},
		}},
		{"./internal/run", "BenchmarkSync10k", "3x", []figure{
			{"BenchmarkSync10k/new", "cpu-µs/record", 1e-3, "ms", "a record of 1 KB in a sync of 10,000 new ones (100 pages, mapped with zod), in all processes", 0.2},
			{"BenchmarkSync10k/unchanged", "cpu-µs/record", 1e-3, "ms", "a record in a sync of 20,000 unchanged ones", 0.15},
		}},
	}
}

func (b benchmark) args() []string {
	return []string{"test", "-run", "^$", "-bench", b.name + "$", "-benchtime", b.time, b.pkg}
}

func (b benchmark) command() string {
	return "go test -run '^$' -bench '" + b.name + "$' -benchtime " + b.time + " " + b.pkg
}

func (b benchmark) run(ctx context.Context) ([]row, error) {
	cmd := exec.CommandContext(ctx, "go", b.args()...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", b.command(), err, out)
	}
	lines := parse(out)
	var rows []row
	for _, f := range b.figures {
		value, found := lines[f.line][f.unit]
		if !found {
			return nil, fmt.Errorf("%s: there is no %s of %s in\n%s", b.command(), f.unit, f.line, out)
		}
		rows = append(rows, row{what: f.what, value: value * f.scale, unit: f.as, limit: f.limit, command: b.command()})
	}
	return rows, nil
}

// parse reads the lines of `go test -bench`: a name, the number of runs, and pairs of a value and its unit.
func parse(out []byte) map[string]map[string]float64 {
	all := map[string]map[string]float64{}
	scanner := bufio.NewScanner(bytes.NewReader(out))
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := fields[0]
		if at := strings.LastIndexByte(name, '-'); at > 0 {
			if _, err := strconv.Atoi(name[at+1:]); err == nil {
				name = name[:at]
			}
		}
		values := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				values[fields[i+1]] = v
			}
		}
		all[name] = values
	}
	return all
}
