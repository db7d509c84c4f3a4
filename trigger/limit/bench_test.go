package limit

import (
	"strconv"
	"testing"
	"time"
)

func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 100_000} { // of one caller, and of more than are known
		b.Run(strconv.Itoa(keys), func(b *testing.B) {
			k := NewKeyed(Limit{Events: 100, Per: time.Second}, 0)
			names := make([]string, keys)
			for i := range names {
				names[i] = strconv.Itoa(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k.Take(names[i%keys])
			}
		})
	}
}
