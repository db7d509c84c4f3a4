package memkv

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "32") // they wait for TTLs, and work little
	goleak.VerifyTestMain(m)
}
