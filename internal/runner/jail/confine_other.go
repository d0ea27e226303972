//go:build !linux

package jail

import "os/exec"

// Confine does nothing on this system.
func Confine(*exec.Cmd, bool) {}

// Supported reports whether namespaces exist here at all.
const Supported = false

// Enter does nothing on this system.
func Enter(Limits) (filtered bool, err error) { return false, nil }
