package bus

// AccountUsage returns how many bytes the streams of a namespace store, on the disk and in
// memory: 0 if it is not open here.
func (b *Bus) AccountUsage(name string) (storage, memory int64) {
	if b.door == nil {
		return 0, 0
	}
	a := b.door.account(name)
	if a == nil {
		return 0, 0
	}
	used := a.acc.JetStreamUsage()
	return int64(used.Store), int64(used.Memory)
}
