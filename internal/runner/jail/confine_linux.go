package jail

import (
	"os/exec"
	"syscall"
)

// Confine sets what must be decided before cmd starts. With namespaces set, Start fails where the kernel refuses them: try
// again with a new command and without.
func Confine(cmd *exec.Cmd, namespaces bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if namespaces {
		// No id mappings: inside, the process is nobody and has no capability, whoever started it.
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	}
}

// Supported reports whether namespaces exist here at all.
const Supported = true
