// Package wall keeps processes in: what is behind a wall reaches of the machine what
// its [Spec] says, and nothing else.
//
// A wall is a thread. Namespaces, Landlock domains, filters of system calls and lost
// privileges belong to a thread, and go over to what it starts. So each wall has a
// thread of its own, which the Go runtime never uses for anything else: it walls
// itself in, which takes about a millisecond, and then starts all processes that are to
// be behind that wall. No program runs in between, as a shim would, and the host
// itself stays outside. When the thread ends, the kernel kills what it has started,
// and so it does when the host is killed.
//
// # As root
//
// A process has a root directory of its own: /usr, /lib and what else is to be
// executed and linked, of /etc what resolves names, verifies certificates and tells the
// time, five devices, its program, all to read, and /tmp, which is in memory, of
// bounded size, and where its own directory is all that it may write. There is no /proc,
// no /sys, no socket of anybody, nothing of the host. It is process 1 among its own
// processes, which die with it, and sees no others. Its user is nobody else's and may
// nothing: no capabilities, none to be had. Without a network it has an empty one of
// its own. On top of that it has all that follows, so that there are two walls where one
// has a hole.
//
// Who is to write what belongs to the host, as compilers do to its caches, keeps its user
// ([Spec].KeepUser). It has no capabilities but that of reading what belongs to others, sees of the
// system only libraries and of /etc no keys, and what is [Spec].Shown under the paths that it
// has outside. What it may write is of disk, so it makes no programs there that run with
// the rights of their owner.
//
// # Without root
//
// User namespaces cannot be made by a program of many threads, so a process stays
// the host's user in the host's root. Landlock takes the files from it, as it does as
// root, and, from Linux 6.12 on, signals to others and abstract sockets. The filter of
// system calls is the network's wall: without a network there are no sockets at all.
//
// # Always
//
// A filter allows the system calls that programs need; others do not exist. What tells
// of an attack, or of a line missing in a manifest, is answered by the host, which
// tells [Spec].Refused of it. Limits of open files, core files, memory and processes
// hold before the first instruction: the process is held until they are set. Memory
// and processes are bounded by a cgroup for each process, of version 1 or 2, where
// others can be made in that of the host. The time of the processor is shared by the
// kernel, among threads: cgroups for that would add a third to the time of a call.
//
// # For who embeds it
//
// When a process is started, all descriptors of this process but the standard ones
// become close-on-exec, as those that Go opens are: what was inherited is for nobody. A
// host that is killed while it starts a process leaves it held, as it has run nothing; the
// next host on the machine ends it, where there are cgroups.
//
// # What a wall does not do
//
// All processes on a machine share its kernel, whose bugs a wall only makes harder to
// reach, and its caches, whose timing tells of neighbours. Outbound network reaches
// what the host reaches, its own addresses and private networks among it. Processes
// behind one wall, which are those of one version of a function, share its /tmp and
// its user. Who runs code of people that want to do harm runs it in a virtual machine.
//
// [Probe] finds out what of all this the machine can. What it cannot is left out, and
// named.
package wall
