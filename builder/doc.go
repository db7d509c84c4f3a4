// Package builder turns a directory of Go source into an artifact: a program
// that runs the functions' handlers as a worker process.
//
// A [Source] is a directory. [Detect] finds its handlers by parsing alone. Then
// [Builder.Build] generates a main package that serves them, and hands it to the
// go command through an overlay, in a directory that does not exist: nothing is
// ever written into the user's tree, and compile errors keep the user's paths
// and lines. Three kinds of directories are built:
//
//   - a bare directory of .go files, without go.mod: standard library and fnhost only
//   - a directory with a go.mod of its own, and third-party dependencies
//   - a directory inside a larger module, whose other packages it may import
//
// The library that functions import comes from the host itself ([fnhost.SDK]), so
// that a function always speaks the protocol of the host that built it.
//
// # Safety
//
// Source is not trusted to stay in its tree: replace directives and symbolic
// links that lead out of [Source.Root] are refused, cgo and version control are
// off, and the environment is made from scratch. A build runs in a process group
// of its own, which is killed when its context ends or its time is up, and no
// file that it writes may exceed a limit. This keeps mistakes in.
//
// Against source that was written to attack the compiler there is [Config].Room: it is
// told what each build needs, and may keep everything else from its programs. A build
// reads its module (or its directory, without one), what links in that lead to, the
// toolchain and the caches; it writes its own directory, and the go command the cache of
// compiled packages. Compiler and linker never need a network: when a module is missing, a
// go command that compiles nothing (go build -n) fetches it, and the build begins again.
// What programs write in a build the Builder takes for no more than it is: no link is
// followed, and no path in their output leads out of the build's directory. All builds share
// the cache of compiled packages: who takes over the compiler may leave wrong ones for others.
//
// # Cache
//
// An artifact is named by the hash of all that it is made of: source, go.mod,
// go.sum, toolchain, flags and library. The same hash is not built twice.
//
// A build works in a directory fnhost-build-* below [os.TempDir], and removes it.
// What a killed process leaves there is removed by [Builder.Sweep] of another.
package builder
