// Package functions is what the author of a function imports, if anything: a
// function that only takes and returns values needs nothing of it.
//
// # Handlers
//
// A handler is a Go function of one of these shapes, where In and Out are any
// type that encoding/json can decode and encode:
//
//	func()                        func(context.Context)
//	func() error                  func(context.Context) error
//	func(In)                      func(context.Context, In)
//	func(In) error                func(context.Context, In) error
//	func() Out                    func(context.Context) Out
//	func() (Out, error)           func(context.Context) (Out, error)
//	func(In) Out                  func(context.Context, In) Out
//	func(In) (Out, error)         func(context.Context, In) (Out, error)
//	func(http.ResponseWriter, *http.Request)
//
// In a directory that a host watches, the function Handle is the root endpoint
// and each HandleXxx the endpoint xxx; the host generates main. A program with
// a main of its own says it with [Serve] and [Handle].
//
// As In and Out, []byte and string are the body as it is, without JSON, and
// io.Reader streams it. Out may also be an iter.Seq[T] or iter.Seq2[T, error],
// each value of which goes out as it is yielded: a line of JSON each, or a
// server-sent event each for a caller that accepts text/event-stream. An Out
// with a method StatusCode() int chooses the HTTP status.
//
// In and Out may hold nothing that JSON has no value for: channels, functions,
// complex numbers, unsafe pointers, maps whose keys are no text, and, in an In,
// interfaces with methods. Such a handler is refused before it serves, with the
// field's place. Fields that are unexported or have the tag json:"-" may be
// anything, and types that marshal themselves are believed.
//
// # Input over HTTP
//
// For an In that is a struct (or a map with string keys), the fields of the
// JSON body, of a form, the query parameters and the wildcards of the route are
// merged, the later ones winning. Names are those of encoding/json, without
// regard to case; "a.b" reaches into a nested struct; a parameter that repeats
// fills a slice. What does not fit is answered with status 400 and the place. An
// In that is a pointer is never nil.
//
// # Errors
//
// An error becomes status 500 with its message; [Errorf] chooses another
// [Code]. A panic is caught, becomes status 500 without its text, and is logged
// with its stack. The same errors come back from [Call]; compare them with
// errors.Is and the sentinels of this package. The codes are
//
//	BadRequest    400    the input is not what the function takes
//	Unauthorized  401    who asks is not known
//	Forbidden     403    who asks may not
//	NotFound      404    what was asked for is not there
//	NoMethod      405    not with this HTTP method
//	Conflict      409    the state does not allow it
//	TooLarge      413    it is over a limit
//	Unprocessed   422    well-formed, and still wrong
//	TooMany       429    over a rate limit
//	Internal      500    any other error
//	Unavailable   503    not now; later perhaps
//
// What a handler returns of the errors that it gets itself means this to its caller,
// wrapped or not:
//
//	of Call                                       what the called function meant: its code
//	of Secret, Config, Publish, Atomically,       500, or 503 if the host was unavailable: a secret
//	and the host's own of KV and Blobs            that is missing is the function's trouble
//	kv.ErrNotFound                                404
//	kv.ErrInvalidKey                              400: keys mostly come from the input
//	kv.ErrTooLarge                                413: and so do values
//	kv.ErrConflict, kv.ErrExists                  409
//	kv.ErrFull                                    503
//
// For errors.Is and errors.As they are what they were. A handler that means something else
// returns an [Errorf] of its own with their text, or in front of them:
//
//	return fmt.Errorf("%w: %w", functions.Errorf(functions.NotFound, "no user %q", name), err)
//
// # Events
//
// Triggers in function.yaml run an endpoint for the messages of a stream, for
// plain messages, and at certain times. A handler that takes an [Event] gets all
// that is known of a message; one that takes a type of its own, or []byte, gets the
// data. What it returns, but for an error, is nobody's. An error has the event
// tried again, as the trigger says, until it is a dead letter; [Permanent] and
// [RetryAfter] decide otherwise. Since an event may come again after it was handled,
// a handler uses what names it (Stream and Sequence, or its ID) where doing
// something twice matters. A handler that takes a slice, []Event or one of its own type,
// gets batches where the trigger says so, and names those it could not handle in a
// [BatchError]. [Publish] sends messages, at once or later ([Delay], [At]), for a while
// ([TTL]), or only after a certain one ([ExpectLast]); what is published within
// [Atomically] takes effect all or not at all, and, but for a batch, once for an event
// that comes again. A message may be a CloudEvent: an [Event] has its attributes, however
// it came, and [CloudEvent] makes one.
//
// # State
//
// A function keeps nothing in memory that matters: another worker runs the next
// invocation. [KV] is a bucket of keys, with times to live, conditions, transactions,
// counters and watchers, see package kv:
//
//	func Handle(ctx context.Context, in Visit) (int64, error) {
//		return functions.KV(ctx, "visits").Add(ctx, in.Page, 1, kv.TTL(24*time.Hour))
//	}
//
// # Changes of keys
//
// A kv trigger runs an endpoint for the changes of a bucket's keys: at least once for the
// latest of each key, as an event with an Entry. The value of a put is its data, so that a
// handler may take a type of its own, if the trigger is on: [put] alone; a delete or an
// expiry has no value, and is an error there.
//
//	func HandleSession(ctx context.Context, e functions.Event) error {
//		switch e.Entry.Op {
//		case kv.OpPut:
//			return welcome(ctx, e.Entry.Key, e.Entry.Value)
//		case kv.OpExpire:
//			return remind(ctx, e.Entry.Key)
//		}
//		return nil
//	}
//
// A value that was replaced before it came to it may be left out, so a handler looks at
// what is, and not at how often that has changed.
//
// # Configuration
//
// [Config] returns what is set with `fnhost config set` for the function and its
// namespace, over the defaults in function.yaml, as it is now: it changes while the
// function runs, without a restart, and reading it costs no more than memory. What does
// not fit the schema in function.yaml is never set, so a handler can rely on that.
//
//	config, err := functions.Config(ctx)
//	if err != nil {
//		return err
//	}
//	if config.Bool("beta", false) { … }
//
// [OnConfig] is for what has to be made anew when it changes.
//
// # Secrets
//
// [Secret] is a secret that `fnhost secret set` has set, if the manifest lets the
// function have it. Its value is in no environment and in no file.
//
// # Context
//
// The context of an invocation ends at the function's timeout, at the caller's
// deadline, or when the caller goes away. It reaches the host: [Call] another
// function, [Log], [InvocationFrom]. All of them are safe for concurrent use.
//
// The package imports only the standard library, and neither net nor net/http:
// they are linked into functions that use them (see httpfn).
package functions
