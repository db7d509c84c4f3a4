// Package wire is the protocol between a host and the worker processes that
// run its functions. A worker in any language can speak it: this text and the
// constants of the package are the whole of it.
//
// # Channel
//
// The host starts a worker with one end of a unix stream socketpair as file
// descriptor 3 ([WorkerFD]), in non-blocking mode, and sets FNHOST_WORKER in
// its environment ([WorkerEnv]). Both sides write frames to it; neither closes
// it before it is done. End of file on the channel tells a worker that its
// host is gone: it exits.
//
// # Frames
//
// All integers are big-endian.
//
//	offset  size  field
//	0       4     length of all that follows this field, 12 to 131,083
//	4       8     id of the exchange
//	12      1     kind
//	13      1     flags: 1 end, 2 error
//	14      2     size of the header block, h
//	16      h     header block
//	16+h    rest  payload, at most 65,536 bytes
//
// The header block is a run of fields: one byte of key length (1 to 255), the
// key, two bytes of value length, the value. A key may occur again; order is
// kept. Keys that begin with ":" belong to the protocol; all others are the
// headers of the request or response (as in HTTP, names are compared without
// regard to case). A frame that breaks any of these lengths ends the session:
// a receiver believes no length that it has not checked ([ErrFrame]).
//
// # Kinds
//
//	1  ready     worker → host, once, before anything else: the worker takes invocations
//	2  invoke    host → worker, opens an exchange: run an endpoint
//	3  result    worker → host, answers an invoke or a describe
//	4  call      worker → host, opens an exchange: do something for the function
//	5  reply     host → worker, answers a call
//	6  chunk     both ways: a further part of a body
//	7  credit    both ways: 4 bytes of payload, so many more bytes of chunks may be sent
//	8  cancel    from who opened the exchange: its answer is no longer wanted
//	9  log       worker → host, id of the invocation or 0: a log record
//	10 drain     host → worker: finish what runs, then exit with status 0
//	11 describe  host → worker, opens an exchange: the endpoints with their schemas, as JSON
//
// A receiver ignores frames of a kind that it does not know, and frames of an
// exchange that it does not know or no longer knows.
//
// # Exchanges
//
// An exchange is one request and its response, multiplexed with any number of
// others. Who opens it chooses the id: the host even ones from 2, the worker
// odd ones from 1, each greater than the one before. The opening frame holds
// the headers and the first 64 KiB of the body at most; the flag end says
// that this was all of it, otherwise chunks follow, the last with the flag end
// (its payload may be empty). The answer is of the same form, and may begin
// before the request has ended. The flag error, always with end, makes a
// frame an error instead: ":code" (see [Code]), ":message", ":retry" (the
// microseconds after which an event is to be tried again, -1 for never), and ":stack"
// where there is one.
//
// A sender of chunks starts with a credit of 256 KiB ([Window]) for each
// exchange and direction, spends what it sends, and waits when it is spent;
// the receiver grants more as it consumes. The first frame is free.
//
// The answer to a cancelled exchange is still sent, since it tells the host
// that the worker no longer works on it; its content is ignored.
//
// # Headers of an invoke
//
//	:endpoint    name of the endpoint, absent or empty for the root
//	:invocation  the invocation's id
//	:timeout     microseconds that are left, in decimal
//	:trigger     what started it: "http", "rpc", "call", "invoke", "event", "kv", "async", …
//	:depth       how many function-to-function calls lie above it, absent for 0
//	:caller      the function that called, for the trigger "call"
//	:identity    who has proved to ask for it, a JSON object with account, namespace,
//	             kind, scopes and issuer; absent for nobody
//	:query       the raw query string of a request, without "?"
//	:value       "name=value", a wildcard of the matched route; may repeat
//	:method :uri :host :remote :scheme
//	             the HTTP request, where there is one; :uri is relative to the function
//
// and, for the trigger "event"
//
//	:subject     of the message, and its stream in :stream
//	:sequence    in the stream, in decimal
//	:time        when it was stored, in nanoseconds since 1970
//	:attempt     which attempt this is, from 1; also for the trigger "async", with
//	             :stream and :sequence
//	:replayed    "1" if somebody has the event run once more, as a trial or to repair
//
// and, for the trigger "kv", whose event is a change of a key in a bucket, those and
//
//	:bucket      name of the bucket, and the key in :key; its revision is in :sequence
//	:change      "put", with the value in the payload, "delete" or "expire"
//	:expires     when the value does, in nanoseconds since 1970; absent for never
//
// or, for several events at once,
//
//	:batch       how many; the payload holds them ([Messages]) with the headers above
//
// Headers of its result: ":status", an HTTP status, absent for 200 (or 204,
// where a handler returns nothing); ":failed", how many of a batch failed, where some
// did: the payload holds their errors ([ItemErrors]).
//
// # Headers of a call
//
//	:op          what is asked: "invoke"; "publish" a message with the headers of the
//	             call (of those of NATS itself Nats-Msg-Id, Nats-TTL,
//	             Nats-Expected-Last-Subject-Sequence, and Nats-Schedule as "@at" and a
//	             time, each once); "commit" the publish calls that the payload holds ([Messages]),
//	             and at most one "kv.commit", all or none, and once; or whether that was done, "committed", which
//	             the payload "yes" answers; "kv.get" and others on buckets, see package kvwire;
//	             "follow", what the function is to know as it changes (see Following);
//	             the value of a "secret", which the payload of the reply is, with its version in
//	             ":revision"
//	:target      what it is asked of: "function" or "function/endpoint"; a subject; a bucket; a secret
//	:number      which commit of the invocation it is, from 1; with it go the headers
//	             :endpoint, :stream, :sequence and :time of the invocation, if it has them
//	:timeout     as above
//	:invocation  the invocation on whose behalf it is made
//	:depth       as it came with that invocation
//
// # Following
//
// The answer to a call of "follow" goes on until the worker or the host ends. Its body
// is a run of messages (as [AppendMessage] makes them, read by [ReadMessage]), each with
// an ":op" of its own; a worker ignores those that it does not know:
//
//	config       the payload is the function's configuration from now on, a JSON object;
//	             ":revision" is where it stands, and ":partial" "1" if the function's
//	             access list leaves something out
//	ready        all that there was to tell at first has been told
//
// What was told is current until the next message of its kind, or until the answer
// ends, in whichever way: a worker that needs to know then asks anew.
//
// # Headers of a ready
//
//	:protocol    "1" ([Version]); a host refuses a worker of another version
//	:sdk         name and version of the library, for people
//	:endpoint    "name kind", with the kinds json, raw, http, event and batch; repeats
//
// # Headers of a log
//
//	:level       DEBUG, INFO, WARN or ERROR
//	:message     the message; the payload is a JSON object of attributes, or empty
package wire

// Version is the protocol's version, as it stands in a ready frame.
const Version = "1"

const (
	// WorkerFD is the file descriptor of a worker's channel to its host.
	WorkerFD = 3
	// WorkerEnv is the environment variable that a host sets for its workers;
	// its value is the function's name.
	WorkerEnv = "FNHOST_WORKER"
)

// Header keys of the protocol; the package documentation says where each one goes.
const (
	KeyEndpoint   = ":endpoint"
	KeyInvocation = ":invocation"
	KeyTimeout    = ":timeout"
	KeyTrigger    = ":trigger"
	KeyDepth      = ":depth"
	KeyCaller     = ":caller"
	KeyIdentity   = ":identity"
	KeyFunction   = ":function"
	KeyQuery      = ":query"
	KeyValue      = ":value"
	KeyMethod     = ":method"
	KeyURI        = ":uri"
	KeyHost       = ":host"
	KeyRemote     = ":remote"
	KeyScheme     = ":scheme"
	KeyStatus     = ":status"
	KeyOp         = ":op"
	KeyTarget     = ":target"
	KeyProtocol   = ":protocol"
	KeySDK        = ":sdk"
	KeyLevel      = ":level"
	KeyMessage    = ":message"
	KeyCode       = ":code"
	KeyStack      = ":stack"
	KeyRetry      = ":retry"
	KeySubject    = ":subject"
	KeyStream     = ":stream"
	KeySequence   = ":sequence"
	KeyTime       = ":time"
	KeyAttempt    = ":attempt"
	KeyNumber     = ":number"
	KeyBatch      = ":batch"
	KeyFailed     = ":failed"
	KeyReplayed   = ":replayed"
	KeyBucket     = ":bucket"
	KeyKey        = ":key"
	KeyChange     = ":change"
	KeyExpires    = ":expires"
	KeyRevision   = ":revision"
	KeyPartial    = ":partial"
)

// Kinds of endpoints, as a ready frame tells them.
const (
	EndpointJSON = "json" // typed: JSON in, JSON out
	EndpointRaw  = "raw"  // bytes in, bytes out
	EndpointHTTP = "http" // a whole HTTP request and response
	// EndpointEvent takes an event with what is known of it.
	EndpointEvent = "event"
	// EndpointBatch takes several of them.
	EndpointBatch = "batch"
)
