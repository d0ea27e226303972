package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Enter completes the confinement of the calling process, for good. It reports whether the system call filter holds; the
// error says what else, or why, did not work. Everything the process reads from files it must have read before.
func Enter(l Limits) (filtered bool, err error) {
	var problems []error
	check := func(what string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what, err))
		}
	}
	check("closing inherited files", closeInherited())
	// If the computer runs out of memory, the kernel should take a runner and not the server. Best effort: some hosts forbid it.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("800"), 0)

	if l.Files == 0 {
		l.Files = 64
	}
	check("RLIMIT_NOFILE", limit(unix.RLIMIT_NOFILE, uint64(l.Files)))
	check("RLIMIT_CORE", limit(unix.RLIMIT_CORE, 0))
	check("RLIMIT_FSIZE", limit(unix.RLIMIT_FSIZE, 0))
	if l.Data > 0 {
		check("RLIMIT_DATA", limit(unix.RLIMIT_DATA, uint64(l.Data)))
	}
	check("no dumps", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	check("no new privileges", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	if err := filter(); err != nil {
		check("system call filter", err)
	} else {
		filtered = true
	}
	return filtered, errors.Join(problems...)
}

func limit(resource int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	value = min(value, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value})
}

// closeInherited closes what the server's environment left open beyond the standard streams. Go's own descriptors (its
// poller) stay.
func closeInherited() error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	own := int(dir.Fd())
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 || fd == own {
			continue
		}
		target, err := os.Readlink("/proc/self/fd/" + name)
		if err != nil || strings.HasPrefix(target, "anon_inode:[event") {
			continue
		}
		_ = unix.Close(fd)
	}
	return nil
}
