//go:build linux && !amd64 && !arm64

package wall

const (
	filterArch       = 0 // no filter has been written for this machine
	filterFirstOther = 0
)

var machineCalls, machineInPlaceRefused []uint32

var machineModeCalls []callArg
