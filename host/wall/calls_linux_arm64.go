package wall

import "golang.org/x/sys/unix"

const (
	filterArch       = unix.AUDIT_ARCH_AARCH64
	filterFirstOther = 0x40000000 // there is nothing from here on
)

// machineCalls are those that this machine has beside those of all.
var machineCalls = []uint32{
	unix.SYS_FSTATAT, unix.SYS_RENAMEAT,
}

// machineModeCalls are those of modeCalls that this machine alone has.
var machineModeCalls = []callArg{}

// machineInPlaceRefused are those of inPlaceRefused that this machine alone has.
var machineInPlaceRefused = []uint32{}
