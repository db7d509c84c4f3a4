// Package kv is the contract of key-value state: buckets of keys, each with a
// value, a revision and perhaps a time to live. It is the standard library and
// nothing else, since it is compiled into functions; [github.com/fnhost/fnhost/kv/jetkv]
// keeps buckets in JetStream, and kv/kvtest holds what every implementation promises.
//
//	rev, err := b.Put(ctx, "user.17", value)                          // whatever is there
//	rev, err := b.Put(ctx, "user.17", value, kv.IfAbsent())           // create: ErrExists
//	rev, err := b.Put(ctx, "user.17", value, kv.IfRevision(rev))      // update: ErrConflict
//	rev, err := b.Put(ctx, "session.a", value, kv.TTL(time.Minute))   // gone after a minute
//	err := b.Delete(ctx, "user.17", kv.IfRevision(rev))
//
//	revs, err := b.Commit(ctx, // all or nothing
//		kv.Put("account.a", less, kv.IfRevision(3)),
//		kv.Put("account.b", more, kv.IfRevision(7)),
//		kv.Delete("hold.5"),
//		kv.Check("open", 9))
//
//	users := kv.Of[User](b)
//	ada, rev, err := users.Get(ctx, "17")
//
//	lease, err := kv.Lock(ctx, b, "lock.nightly", 10*time.Second)
//	defer lease.Release(ctx)
//
// # Keys
//
// A key is 1 to 255 bytes of a-z, A-Z, 0-9 and - _ / = . , where dots part it into
// words: none at either end, no two beside each other. A bucket's name is 1 to 64
// bytes of a-z, A-Z, 0-9, - and _ . Anything else is [ErrInvalidKey] or
// [ErrInvalidBucket].
//
// # Revisions
//
// Each write gives its key a revision, greater than any that the bucket gave before,
// so a revision is a place in the bucket's history, and never comes again. A write
// with [IfRevision] happens only if the key stands at that revision; if not, the
// error is a [ConflictError] that has the one at which it stands. Revision 0 is a key that is not
// there: never written, deleted or expired. (The revision of a delete or an expiry can
// be expected too, as long as the bucket keeps it.)
//
// # Time to live
//
// A TTL is of whole seconds, from 1 s on: any other is [ErrTTL], and nothing is
// written, since it is never rounded; but 0 is no TTL, also where it is given: the key
// stays for ever (as long as the bucket's own TTL lets it, see [Stats]). It belongs to one
// write: the next write of the key without one makes it stay. A key is there until its time has passed, and goes
// within about a second after that; who watches it then sees [OpExpire]. In a bucket
// with history, a write with a TTL forgets the key's earlier values: otherwise they
// would come back when it has expired.
//
// # Limits
//
// A bucket may have a limit of storage and one of keys. Where one is reached, a write that needs more is
// [ErrFull], and nothing is written. What is there can be read, written anew with values
// that are no larger, and deleted. A key that was deleted or has expired counts until the marker of that
// has gone, which in a bucket with a limit of keys is after a second.
//
// # Concurrency
//
// Everything here may be used by many goroutines at once, but a [Watcher]'s Next,
// which is for one at a time. Reads see every write that had returned before they began. An
// error that is none of this package leaves open whether a write has happened: a
// connection that broke tells nothing. Writes with conditions can be repeated then;
// if the first did happen, the second is a conflict.
package kv
