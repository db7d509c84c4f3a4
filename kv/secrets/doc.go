// Package secrets keeps secrets in a [kv.Bucket], sealed, so that who has the bucket
// alone has none of them.
//
// Each version of a secret has a fresh data key, with which its value is sealed
// (XChaCha20-Poly1305); the data key is sealed with a master key, which a [Source]
// brings from a file, a command or a text. What is sealed is bound to the namespace, the
// name and the version of the secret, and the data key to the ID of the master key as
// well: a record that was changed, or put in the place of another one, does not open
// ([ErrDamaged]). Names, versions, times and who set a secret are not secret, and stand
// there in the clear; they are bound, too.
//
// What this does not do: a record that was good once opens again if somebody puts it
// back in its own place. Values that were handed out are in the memory of whoever got
// them, and bytes that are zeroed here (data keys, and values when they are replaced)
// may have been copied by the runtime before, or be in a swap or a core file.
//
// # Records
//
// The key of a version in the bucket is NAMESPACE.VERSION.NAME, so that a new master key
// can seal its data key anew in place; the latest [Keep] versions of a secret stay. The
// key "check" holds a record that opens with the master key in use: a [Store] that is
// opened with another one refuses, and has changed nothing.
//
// # Another master key
//
// A keyring has one or more keys: the first, the primary, seals, all of them open.
// [Store.Rotate] reads its source again, seals all data keys with the primary key, and
// only then are the others of no use any more. It may be broken off at any time, also by
// a kill, and called again.
package secrets
