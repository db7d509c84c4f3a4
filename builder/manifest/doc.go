// Package manifest reads function.yaml, the optional description of a function.
//
// A function without the file gets the defaults, so the file only says what
// differs from them:
//
//	name: orders          # default: the directory's name
//	runtime: go           # the only one
//	timeout: 30s          # of an invocation, waiting included; up to 15m, or none
//	concurrency: 100      # invocations at once in one worker; 1 to 10000
//	queue: 1000           # invocations that wait when all workers are full; 0 (none waits) to 100000
//	scale:                # workers
//	  min: 0              # kept when idle
//	  max: 0              # 0 is the number of cores
//	  idle: 5m            # how long a worker may idle; 1s to 24h
//	memory: 256MiB        # soft limit of one worker, 4MiB to 1024GiB; it is killed at a
//	                      # quarter more, at least 32MiB; default none, killed at half of the machine
//	network: outbound     # connections to others; default none: no network at all
//	processes: 256        # and threads, of one worker; 32 to 100000
//	disk: 512MiB          # files of all its workers, which are in memory; 1MiB to 1024GiB
//	sandbox: strict       # no worker without the whole wall; default auto: as the host has it
//	body: 8MiB            # largest request body; up to 1GiB
//	env:                  # environment of the workers
//	  LOG_LEVEL: debug
//	  PORT: 8080          # numbers and true/false need no quotes
//	  REGION: ${config:region:eu} # configuration, and what is meant without; $${ is the text
//	public: true          # anybody may call it over HTTP; or, on hosts that ask who comes:
//	scopes: [orders.read] # accounts that have one of these; without both, whom a rule lets
//	access:               # what it may touch; without it, all of its namespace
//	  functions: [stock, "pay-*"]
//	  buckets: [orders]
//	  subjects: ["orders.>"]
//	  config: ["orders.*"]
//	  secrets: [stripe-key]
//	config:               # that the function reads; without it, whatever is set
//	  schema:             # a JSON Schema that it must fit, draft 2020-12
//	    properties:
//	      limits: {type: object, properties: {rate: {type: integer, minimum: 1}}}
//	  defaults:           # where nothing else is set
//	    limits: {rate: 10}
//	cors:                 # without it, no CORS headers
//	  origins: ["https://*.example.com"]
//	  methods: [GET, PUT]
//	limit: 100/s          # HTTP requests of one caller; or /m, /h; without it, no limit
//	async:                # calls that are stored first, and answered later
//	  retries: 3          # of one that failed; 0 to 1000
//	  backoff: 1s         # before the first retry; it doubles
//	  backoffMax: 5m
//	  inFlight: 32        # handled at once; 1 to 10000
//	  keep: 24h           # the result; 1s to 168h
//	triggers:
//	  http:
//	    - path: /pets/{id}       # as in net/http.ServeMux: {name}, {name...}, {$}
//	      methods: [GET, PUT]    # default: all
//	      host: shop.example.com # default: all
//	      endpoint: create       # default: the function's root
//	      scopes: [pets.write]   # or public; default: the function's
//	      limit:                 # beside that of the function
//	        rate: 10/m
//	        burst: 3             # at once; default: the number of the rate
//	        per: address         # default: caller, the account or else the address; or all
//	    - path: /orders/{id}     # by POST, unless methods say otherwise
//	      event: orders.{id}.new # stores the body as an event of that subject, and answers 202
//	  event:                     # for each message that a stream takes
//	    - subject: orders.*      # wildcards allowed
//	      endpoint: created      # default: the function's root
//	      stream: ORDERS         # default: the one that takes the subject, or the host's
//	      start: new             # for a new trigger: new, all, a sequence number, a time
//	      retries: 5             # then it is a dead letter; 0 to 1000
//	      backoff: 1s            # before the first retry; it doubles
//	      backoffMax: 5m
//	      inFlight: 32           # handled at once; 1 to 10000; 1 keeps their order
//	      key: data.customer.id  # or subject (the default), subject.2, header.NAME
//	      order: key             # events of one key in order; default: none
//	      perKey: 0              # of one key at once; 0: as many as inFlight
//	      rate: 100/s            # or /m, /h; default: no limit
//	      dedupe: 24h            # an event of an ID counts once in that time; default: as its stream has it
//	      debounce: 5s           # the latest of a key once it is quiet; default: not at all
//	      filter:                # all of it must hold; default: none
//	        header: {Region: eu}
//	        data: {order.status: [paid, sent], order.gift: true}
//	    - subject: sensors.*
//	      throttle: 10s          # one of a key in that time; default: not at all
//	    - subject: clicks.*
//	      batch:                 # for a handler that takes a slice; default: one by one
//	        size: 500            # at most; 2 to 1000
//	        window: 1s           # how long it waits for more; default 100ms; up to 1m
//	  schedule:                  # at certain times
//	    - cron: 30 3 * * mon-fri # five fields, or six with seconds, or @daily, …
//	      zone: Europe/Berlin    # default: UTC
//	      missed: run            # one for all that were missed; or skip
//	    - every: 90s             # instead of cron; 1s to 720h
//	      endpoint: poll         # default: the function's root
//	      retries: 2             # of a run that failed
//	  subscribe:                 # for each message, as it comes; nothing is stored
//	    - subject: metrics.>
//	      endpoint: count        # default: the function's root
//	      each: false            # true: on each node
//	  kv:                        # for each change of a bucket's keys
//	    - bucket: sessions
//	      keys: "user.**"        # *: any characters but dots, **: any, ?: one; default: all
//	      on: [put, expire]      # and delete; default: all three
//	      endpoint: changed      # default: the function's root
//	      start: new             # and what event has: retries, backoff, backoffMax, inFlight,
//	      order: key             # order, perKey, rate, debounce, throttle, batch
//
// # Strictness
//
// The file is small and a mistake in it is found late, so nothing is guessed:
// an unknown or repeated key, a key without a value, a number without its unit
// and a value out of range are errors. [Parse] reports all of them at once, each
// with the line and column of the key or value at fault. Only broken YAML ends
// the reading at the first error.
//
// Of YAML, the file may use one document of mappings, lists and scalars in
// block or flow style. Anchors, aliases, merge keys, tags, directives and "?"
// keys are refused: the manifest has no use for them, and aliases are how a
// small file grows without bound. For the same reason a file has at most
// [MaxFileSize] bytes. Tabs may stand in comments, single quotes and blocks of
// text, and at the end of a line; in double quotes they are written \t.
//
// # Access lists
//
// An entry of functions, buckets, config or secrets is a name in which each *
// stands for any number of characters. One of config allows what is below it, too:
// limits has limits.rate. An entry of subjects is a NATS subject:
// there * stands for one token and a final > for one or more. A manifest with
// access but without one of its kinds allows nothing of that kind; with
// "access: {}" the function may touch nothing.
//
// # Editors
//
// [Schema] returns the JSON Schema of the file. It is made from the table that
// Parse reads by, which is also where a new key is added: a field in the struct,
// and one line in its table in table.go.
package manifest
