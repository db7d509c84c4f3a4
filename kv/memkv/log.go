package memkv

import (
	"container/heap"
	"slices"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// message is an entry that the bucket has, or has had. But for at and gone it never changes.
type message struct {
	kv.Entry
	end  time.Time // when it goes, zero: it stays
	at   int       // place in due, -1: none
	gone bool
}

// entry returns a copy that belongs to the caller.
func (m *message) entry(value bool) kv.Entry {
	e := m.Entry
	if !value || e.Op != kv.OpPut {
		e.Value = nil
	} else {
		e.Value = append([]byte{}, e.Value...) // an empty one is one, too
	}
	return e
}

func size(key string, value []byte) int64 { return int64(len(key) + len(value) + overhead) }

// latest returns the latest message of a key, a delete or an expiry too; nil if there is none.
func (b *Bucket) latest(key string) *message {
	if list := b.keys[key]; len(list) > 0 {
		return list[len(list)-1]
	}
	return nil
}

// alone is true for a change that leaves nothing of the key but itself. A value with
// a TTL is one: older ones would come back when it has expired.
func (b *Bucket) alone(c *kv.Change) bool {
	return b.cfg.History == 1 || c.TTL > 0 || c.Action == kv.ActPurge
}

// replaced returns the messages that go with a change.
func (b *Bucket) replaced(c *kv.Change) []*message {
	list := b.keys[c.Key]
	if b.alone(c) {
		return list
	}
	return list[:max(len(list)+1-b.cfg.History, 0)]
}

// write makes a change and returns its revision.
func (b *Bucket) write(c *kv.Change, now time.Time) uint64 {
	m := &message{Entry: kv.Entry{Key: c.Key, Created: now, Op: kv.OpDelete}}
	if c.Action == kv.ActPut {
		m.Op, m.Value = kv.OpPut, slices.Clone(c.Value)
		ttl := c.TTL
		if ttl == 0 || b.cfg.TTL > 0 && b.cfg.TTL < ttl {
			ttl = b.cfg.TTL
		}
		if ttl > 0 {
			m.Expires = now.Add(ttl)
			m.end = m.Expires
		}
	} else if b.alone(c) { // as a part of a history it stays with it
		m.end = now.Add(b.markers())
	}
	b.store(m, len(b.replaced(c)))
	return m.Revision
}

// store makes a message the latest of its key, of which the first others go.
func (b *Bucket) store(m *message, others int) {
	b.last++
	m.Revision, m.at = b.last, -1
	list := b.keys[m.Key]
	if len(list) == 0 {
		at, _ := slices.BinarySearch(b.order, m.Key)
		b.order = slices.Insert(b.order, at, m.Key)
	}
	for _, old := range list[:others] {
		b.forget(old)
	}
	b.keys[m.Key] = append(slices.Clone(list[others:]), m)
	b.log = append(b.log, m)
	b.bytes += size(m.Key, m.Value)
	if !m.end.IsZero() {
		heap.Push(&b.due, m)
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// forget takes a message out of everything but the list of its key.
func (b *Bucket) forget(m *message) {
	m.gone = true
	b.bytes -= size(m.Key, m.Value)
	if m.at >= 0 {
		heap.Remove(&b.due, m.at)
	}
	if b.gone++; b.gone > 64 && b.gone > len(b.log)/2 {
		b.log = slices.DeleteFunc(b.log, func(m *message) bool { return m.gone })
		b.gone = 0
	}
}

// expire does what was due up to now, in its order and as of its time.
func (b *Bucket) expire(now time.Time) {
	for len(b.due) > 0 && !b.due[0].end.After(now) {
		m := b.due[0]
		list := b.keys[m.Key]
		switch {
		case m != list[len(list)-1]: // a value that only history had
			b.forget(m)
			b.keys[m.Key] = slices.DeleteFunc(slices.Clone(list), func(other *message) bool { return other == m })
		case m.Op == kv.OpPut:
			b.store(&message{Entry: kv.Entry{Key: m.Key, Created: m.end, Op: kv.OpExpire}, end: m.end.Add(b.markers())}, len(list))
		default:
			b.forget(m)
			delete(b.keys, m.Key)
			at, _ := slices.BinarySearch(b.order, m.Key)
			b.order = slices.Delete(b.order, at, at+1)
		}
	}
}

// due is a heap of messages, the one that goes first in front.
type due []*message

func (d due) Len() int { return len(d) }

func (d due) Less(i, j int) bool {
	if d[i].end.Equal(d[j].end) {
		return d[i].Revision < d[j].Revision
	}
	return d[i].end.Before(d[j].end)
}

func (d due) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].at, d[j].at = i, j
}

func (d *due) Push(x any) {
	m := x.(*message)
	m.at = len(*d)
	*d = append(*d, m)
}

func (d *due) Pop() any {
	old := *d
	m := old[len(old)-1]
	old[len(old)-1] = nil
	m.at = -1
	*d = old[:len(old)-1]
	return m
}
