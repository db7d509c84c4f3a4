// Package backup is the file that holds everything a host keeps: how it is written while the
// host serves, verified, and restored.
//
// # The file
//
// A tar without compression of its own, which any tar lists. Its entries, in this order:
//
//	backup.json                              format, time, version and host: see [Header]
//	streams/ACCOUNT/STREAM/stream.json       configuration and state of a stream, as the NATS server tells them
//	streams/ACCOUNT/STREAM/part-000001 …     its snapshot, as the server sends it: consumers, then messages
//	files/PATH                               a file of the data directory
//	streams/ACCOUNT/STREAM/tail-000001 …     what was stored meanwhile, in the form of a snapshot
//	streams/ACCOUNT/STREAM/tail.json         the last sequence of the stream when that was read
//	SHA256SUMS                               the SHA-256 of each entry and of this list, as sha256sum -c reads it
//
// No entry but those of files is larger than some MiB, so that a file of any size is written and read
// in bounded memory, without a seek. A file that was cut, or changed by as much as a byte, does not
// pass [Verify], and nothing of one that does not is restored.
//
// # What is consistent, and why
//
// A host serves while a backup is made. Three things are read one after the other: first of
// all streams what the server's snapshot gives, then the files, then of all streams what was
// stored since. So:
//
// What was acknowledged in the file has all that it led to in the file. The snapshot of a stream
// begins with the state of its consumers. An event that is acknowledged there was handled before, and whatever
// its handler has stored, in whichever stream or bucket, was stored before the tails are read.
// An event that was acknowledged later is handled again after a restore: "at least once" allows that.
//
// No key is missing. A snapshot is read message by message, while others write: a value that is replaced
// meanwhile is not in it, and the new one is behind its end. It is in the tail, which is read until, at one
// moment, nothing is behind it, and not between the messages of an atomic batch. So what the file has of a bucket is at least what was there at that moment;
// restore drops what was replaced by then, as the bucket itself would have, so that a
// key that was deleted does not come back when the mark of that has expired.
//
// The tails have an order. Where a thing moves from one stream to another, it is stored in the second one
// before it leaves the first; where one names another, the other is stored first:
//
//   - seen (IDs that were handled, runs of schedules) before the events: an ID without its event would have
//     the event refused when its sender sends it again. An event without its ID is handled twice, if it comes twice.
//   - work queues (later, calls, callbacks, those of others) before what they are moved to (events, runs, dead).
//   - registry before artifacts and sources: what a version names was stored before it. Nothing
//     is collected meanwhile ([github.com/fnhost/fnhost/host/registry.Registry.Hold]).
//   - effects last: a record is written before its messages are published, and none is removed or
//     marked as applied meanwhile ([github.com/fnhost/fnhost/trigger/event.Trigger.Hold]). So effects that the file shows
//     in part are completed after a restore, and those of an event that is handled again are not published twice.
//
// Secrets are sealed by one master key, which does not change meanwhile; [Header] names it. All
// else is as functions wrote it, also if the host keeps its streams encrypted.
//
// The files of git repositories are read with their branches first and their objects until no new one is found:
// a branch leads to objects that are there.
//
// What remains: what was stored after the backup began may be in the file or not, one stream with it and another
// without. An asynchronous call that was accepted meanwhile may be shown as queued and never run, and effects that a bucket
// refused meanwhile may be tried once more.
package backup
