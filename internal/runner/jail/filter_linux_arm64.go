package jail

import "golang.org/x/sys/unix"

const (
	arch         = unix.AUDIT_ARCH_AARCH64
	firstForeign = 0
)

// refusedHere are the calls that only this architecture has.
var refusedHere = []uint32{unix.SYS_FSTATAT}
