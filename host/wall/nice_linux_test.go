package wall

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhoStandsBackHasALowerPriority(t *testing.T) {
	before, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, nice := range []int{0, 5} {
		p := run(t, buildWall(t, Probe(), Spec{Nice: nice}), "echo")
		if !p.answers() {
			t.Fatal("no answer")
		}
		got, err := unix.Getpriority(unix.PRIO_PROCESS, p.Pid)
		if want := max(before-nice, 1); err != nil || got != want {
			t.Errorf("nice %d: priority %d, %v; want %d", nice, got, err, want)
		}
	}
}
