package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// starts is how often start-up is measured; the median counts.
	starts = 5
	// settle is how long the process is left alone before its memory is read: the demo's first sync is over by then.
	settle = 5 * time.Second
	// patience is how long a start or a stop may take at all.
	patience = time.Minute
)

// measureBinary starts the binary on an empty folder and again on what it left there.
func measureBinary(ctx context.Context) ([]row, error) {
	binary := os.Getenv("PATCHBAY_BIN")
	if binary == "" {
		binary = filepath.Join("bin", "patchbay")
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("there is no binary to measure: run `make build`: %w", err)
	}
	var first, again []time.Duration
	var server, runners []float64
	for range starts {
		folder, err := os.MkdirTemp("", "patchbay-bench")
		if err != nil {
			return nil, err
		}
		err = errors.Join(func() error {
			p, err := start(ctx, binary, folder)
			if err != nil {
				return err
			}
			first = append(first, p.ready)
			if err := p.stop(); err != nil {
				return err
			}
			if p, err = start(ctx, binary, folder); err != nil {
				return err
			}
			again = append(again, p.ready)
			time.Sleep(settle)
			own, children, err := p.memory()
			server, runners = append(server, own), append(runners, children)
			return errors.Join(err, p.stop())
		}(), os.RemoveAll(folder))
		if err != nil {
			return nil, err
		}
	}
	const command = "patchbay dev --json --port 0 --data DIR --log-level error"
	return []row{
		{what: "from start to ready, on the data of an earlier start, demo included", value: median(again).Seconds(), unit: "s", limit: 1, command: command},
		{what: "from start to ready, on an empty folder", value: median(first).Seconds(), unit: "s", command: command},
		{what: "resident memory of the idle server, demo included", value: median(server), unit: "MB", limit: 80, command: command},
		{what: "resident memory of its idle runner processes in all", value: median(runners), unit: "MB", command: command},
	}, nil
}

func median[T time.Duration | float64](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

type process struct {
	cmd   *exec.Cmd
	ready time.Duration
}

// start starts the binary and waits for its line.
func start(ctx context.Context, binary, folder string) (*process, error) {
	cmd := exec.CommandContext(ctx, binary, "dev", "--json", "--port", "0", "--data", folder, "--log-level", "error")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = cmd.Process.Kill() // it is of no use
		return nil, fmt.Errorf("%v did not get ready: %w", cmd.Args, errors.Join(err, cmd.Wait()))
	}
	return &process{cmd, time.Since(begun)}, nil
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() }) // Wait reports it
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the binary: %w", err)
	}
	return nil
}

// memory is the resident memory of the process and of its children together, in MB of 1,000,000 bytes.
func (p *process) memory() (own, children float64, err error) {
	if own, err = resident(p.cmd.Process.Pid); err != nil {
		return 0, 0, err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name may hold blanks
		if len(fields) < 2 || fields[1] != strconv.Itoa(p.cmd.Process.Pid) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return 0, 0, err
		}
		if mb, err := resident(pid); err == nil { // else it has ended
			children += mb
		}
	}
	return own, children, nil
}

func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kibibytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kibibytes * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}
