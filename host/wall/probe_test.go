package wall

import "testing"

func TestX(t *testing.T) {
	m := Probe()
	t.Logf("%+v %v\n%v", m, m.Parts(), m.Require())
}
