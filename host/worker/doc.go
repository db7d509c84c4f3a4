// Package worker runs the versions of functions in pools of native processes.
//
// A [Pool] belongs to one version. It runs an invocation in the ready worker that
// has the fewest; when all have as many as they may, it starts another; when
// there are as many workers as there may be, invocations wait in a queue of
// bounded length; when that is full, they are refused. Workers that idle for
// long are stopped, down to the minimum, which is none by default.
//
// A worker is a process in a group of its own, with an environment made from
// scratch, an empty directory to work in, and one channel, descriptor 3, which
// speaks the protocol of package wire. It has no other way to the host. When it
// ends, its whole group is killed; when the host ends, however it ends, the kernel
// kills it (Linux), and the end of the channel tells it (everywhere).
//
// The workers of a pool are behind a wall (package wall), if there is to be one. It is built
// for the first of them and taken down after the last, so that a pool without workers
// costs nothing. Behind it a worker is process 1: its children die with it, and
// orphans among them are its own to wait for.
//
// A worker that crashes is started anew when it is wanted: at once after the
// first time, then with exponential backoff from 100 ms to 30 s, which begins anew
// after a worker that has run for 10 s or answered 100 invocations. What it was
// running fails with code Crashed, and is never run twice; what it had not been
// sent yet goes to another.
//
// When the context of an invocation ends, the worker is told, and the caller does
// not wait for it. A worker in which an invocation goes on for longer than the
// grace period is recycled: it takes no more, and is killed once its other
// invocations have ended.
package worker
