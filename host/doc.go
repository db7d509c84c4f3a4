// Package host runs functions: it watches folders of Go source, builds what is in
// them, runs it in worker processes, and serves it over HTTP and NATS.
//
//	h, err := host.New(host.Config{Dir: "data", Watch: []string{"functions"}, HTTP: "127.0.0.1:8080"})
//	if err != nil {
//		return err
//	}
//	defer h.Close()
//	return h.Run(ctx)
//
// [New] starts everything but the listeners: from then on [Host.Invoke] runs
// functions, [Host.Gateway] serves them in a server of your own, [Host.Handle] adds
// Go functions of this process, and [Host.Conn] is a NATS connection. [Host.Run]
// opens the listeners of [Config] and serves until its context ends.
//
// # Functions
//
// In a watched folder each immediate subdirectory that holds a handler is a
// function, and at any depth each directory with a function.yaml; a folder that
// holds a handler itself is one function. The name is that of the directory, in
// lower case and with hyphens, or the manifest's. Package functions says what a
// handler is, package builder/manifest what function.yaml may say. When two
// directories claim a name, the first in the order of their paths has it; of a
// directory and a function of [Host.Handle], or a deployed one, it is the latter.
// What is left out is told by an event, and is among [Host.Functions] as long as
// that is so. A folder with Go source in which a handler's name is misspelt is
// hinted at in the log.
//
// A function whose first version is being built makes callers wait for it; one
// whose first version cannot be built answers with why. Later versions replace the
// one before when their first worker is ready, and not otherwise. No invocation is
// lost by that: those that run end in the version they began in, within
// Config.Drain.
//
// # Deploys
//
// [Host.Deploy], the management API and git pushes bring functions in as source,
// too. What is built and starts becomes a version, "v1", "v2" and so on, which
// never changes; a release says which versions get the invocations, with weights.
// [Host.Rollback], [Host.SetRelease] and [Host.Promote] change it, in one step and
// without a request lost. A request may ask for a version by its name, released or
// not. The latest 10 versions are kept, and those released.
//
// All of it is stored in the embedded NATS server (package host/registry) before
// it is acknowledged: after a restart, however the host ended, what was released
// serves again without a build. A version that is damaged puts its function in
// quarantine: it is told by an error, what served before goes on, and the other
// functions do not notice.
//
// A watched folder is its own truth: what is saved there is live, is numbered anew
// at each start, and is neither stored nor rolled back. A name belongs to one of
// the two.
//
// # Asynchronous calls
//
// A call with [Host.InvokeAsync], or with "Prefer: respond-async" at the gateway, is
// stored before it is accepted, and then run at least once, also if the host is
// killed meanwhile: again after a failure, as the manifest's async says. An answer of a
// status below 500, and an error of such a code, ends the run without a retry. The
// result is kept for the manifest's async.keep, up to 1 MiB of it, and sent to a
// callback URL if the call names one: signed, at least once, six times at most, and to
// public addresses alone unless Config.PrivateCallbacks is set; of a canceled one it
// is told status 499. A call whose function does not come back for a week is forgotten.
//
// [Host.Runs] has what has become of calls, and of attempts at events, each of which is done or failed: those that
// failed, up to 20 a second of those that did not, the latest 1000 of a function, for a week.
//
// # Configuration
//
// What functions read by functions.Config is set with [Host.SetConfig]: for the namespace, a
// function, or a version of it (package kv/config), over the defaults in a manifest.
// Running workers have it at once, without a restart, unless a value of the manifest's env refers to it:
// those workers are replaced, and no invocation is lost. What does not fit the schema of a function that
// serves is refused, and a version that does not take what is set is not released.
//
// # Secrets
//
// [Host.SetSecret] stores secrets, each version sealed with a key of its own, and that
// with the master key (package kv/secrets). functions.Secret has the values, if the
// manifest's access.secrets lets the function have them; there is no way to ask a host
// for one. They are in no argument, environment, log, record or answer of the management
// API. What a function that was given a secret writes, logs or returns as an error has
// the value replaced (package host/redact): that is for accidents.
//
// The host keeps values in memory that functions have asked for. What is zeroed when
// they are replaced may have been copied before, by the collector, or by the system.
//
// Config.EncryptStore encrypts what streams and buckets store, for a disk that gets
// lost, and not the rest of the data directory: programs and git repositories.
//
// # Namespaces
//
// A host is one namespace, "default", and can have more of them ([Host.CreateNamespace]): each is a
// [Namespace] with functions, subjects, streams, buckets, configuration, secrets, runs and git
// repositories of its own, and an account of the NATS server, so that one reaches nothing of
// another. What it may use is bounded by [Limits]. The list is stored, and followed by all hosts
// of a NATS server. A removal is noted before it begins, and goes on at the next start if the host is killed
// meanwhile; it leaves nothing. Programs that are equal are stored once for all namespaces.
//
// A request names its namespace by the header X-Fn-Namespace, by a path /@acme/function, or by a
// subdomain of Config.Domain; the management API by the header; git by /git/@acme/NAME. [Host.Export] lets one
// namespace call a function of another one, as functions.Call(ctx, "@acme/orders", …), or
// has what is published on a subject reach it, too. With a NATS server that runs elsewhere, "default" is all there is.
//
// # Edges
//
// Both listeners take TLS: with a certificate in files, which are read anew when they
// have changed, or with those that an authority gives ([ACME]). Browsers are told to stay
// with TLS, but for names of this machine. A manifest limits how many requests are let in
// (package trigger/gateway); Config.TrustedProxies says whose word counts for where they
// come from.
//
// Who has changed what over the management API, or by a push, or was refused that, is kept
// for Config.AuditDays (package host/audit); [Host.Audit] reads it. What goes on in this
// process by methods of Host is not: it asks nobody.
//
// What others name and the host connects to, callback URLs and git repositories, are
// public addresses (package host/outbound), unless Config says otherwise.
//
// # Walls
//
// Workers are kept in, as far as the machine can: by default they reach no network, no
// file but the system's programs and libraries and what they write themselves, no
// process but their own, and a bounded share of memory and processes. A function's
// manifest says what it needs beyond: network, memory, processes, disk. What a function
// tries and may not is in its log, with the line that would allow it. Config.Walls says
// what is done where a machine cannot build all of it: see package wall, which says, too,
// what a wall does not stop. As root it is whole. Functions in process have none.
//
// So are builds behind walls: each sees its module (or its directory, without one), the
// toolchain and the caches, and nothing else of the machine or of Config.Dir. Compilers and
// linkers have no network; only a go command that fetches modules has. They are
// the host's user, without its privileges, since the caches belong to the host; they stand back
// for workers, and are bounded to 4 GiB, or 80 % of the memory, and to 512 processes.
//
// # Data directory
//
// Config.Dir holds the streams of the embedded NATS server (jetstream), with what
// was deployed, the programs of deployed versions (programs; restored from there),
// the master key of secrets (master.key) unless it is kept elsewhere, the key of an
// encrypted store (store.key), git repositories that were pushed (git), the hash of the management API's token
// (admin.token), the key of callbacks (callback.key), keys of callbacks and repositories of other namespaces
// (namespaces), certificates of an authority (acme; had anew if they are gone), the working directories of workers and deploys (run; emptied at
// start), and a lock: it belongs to one host at a time. [Host.Backup] writes what of it
// must be kept as one file while the host serves, and [Restore] makes a data directory
// of that. Compiled programs are also in Config.Builder.Cache, which hosts
// may share, and which can be deleted at any time.
//
// # Several hosts in one process
//
// Nothing is global. Two hosts in one process need two data directories, and
// different addresses.
//
// # Stopping
//
// Run ends with its context, or with [Host.Close]. It returns, and Close too, when
// all that the host has started has ended, in this order: requests in progress, git
// pushes, watching, NATS requests, builds and deploys, workers, NATS.
// A host installs no signal handlers and never exits the process. If the process
// is killed, its workers are killed by the kernel (Linux), or end when they find
// their channel closed.
package host
