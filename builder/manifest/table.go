package manifest

import "time"

// The tables of all keys. To add one, add a field to the struct and a line here;
// to add a kind of trigger, add its struct, its table, and a line in triggerKeys.

var manifestKeys = keys[Manifest]{check: checkManifest, fields: []field[Manifest]{
	key("name", text(nameSchema, checkName), func(m *Manifest) *string { return &m.Name },
		"Name of the function. Default: the directory's name."),
	key("runtime", oneOf("go"), func(m *Manifest) *string { return &m.Runtime },
		"What runs the function."),
	key("timeout", orNone(duration(MinTimeout, MaxTimeout)), func(m *Manifest) *time.Duration { return &m.Timeout },
		"How long an invocation may take, waiting for a worker included: 1ms to 15m, or none: until the caller goes away."),
	key("concurrency", integer(1, MaxConcurrency), func(m *Manifest) *int { return &m.Concurrency },
		"Invocations that run at once in one worker."),
	key("queue", integer(0, MaxQueue), func(m *Manifest) *int { return &m.Queue },
		"Invocations that may wait when all workers are full. 0: none waits."),
	key("scale", mapping(scaleKeys), func(m *Manifest) *Scale { return &m.Scale },
		"How many workers run."),
	key("memory", size(MinMemory, MaxMemory), func(m *Manifest) *int64 { return &m.Memory },
		"Memory of one worker: 4MiB to 1024GiB. It is a soft limit, above which the worker tries to use less, and a hard one: killed at a quarter more, at least 32MiB more. Default: no soft limit, and killed at half of the machine's."),
	key("network", oneOf(NetworkNone, NetworkOutbound), func(m *Manifest) *string { return &m.Network },
		"What of the network the function reaches: none, or connections to others (outbound). Default: none."),
	key("processes", integer(MinProcesses, MaxProcesses), func(m *Manifest) *int { return &m.Processes },
		"Processes and threads of one worker, itself included. Default: 256."),
	key("disk", size(MinDisk, MaxDisk), func(m *Manifest) *int64 { return &m.Disk },
		"Size of all files that its workers make, in memory: 1MiB to 1024GiB. Default: 512MiB."),
	key("sandbox", oneOf(SandboxAuto, SandboxStrict), func(m *Manifest) *string { return &m.Sandbox },
		"What happens where the wall around workers cannot be whole: as the host has it (auto), or no worker starts (strict). Default: auto."),
	key("body", size(1, MaxBody), func(m *Manifest) *int64 { return &m.Body },
		"Size of the largest request body: up to 1GiB."),
	key("env", environment(), func(m *Manifest) *map[string]string { return &m.Env },
		"Environment variables of the workers. ${config:limits.rate} stands for configuration."),
	key("public", boolean(), func(m *Manifest) *bool { return &m.Public },
		"Whether anybody may call it over HTTP, on hosts that ask who comes."),
	key("scopes", texts(leaveScope), func(m *Manifest) *[]string { return &m.Scopes },
		"Scopes that let an account call it over HTTP. Default: those that a rule of the host names."),
	key("access", optional(mapping(accessKeys)), func(m *Manifest) **Access { return &m.Access },
		"What the function may touch. A kind without a list: nothing. Default: everything in its namespace."),
	key("config", optional(mapping(configKeys)), func(m *Manifest) **Config { return &m.Config },
		"What configuration the function reads."),
	key("cors", optional(mapping(corsKeys)), func(m *Manifest) **CORS { return &m.CORS },
		"Which pages of other origins may call the function. Default: none."),
	key("limit", optional(limits()), func(m *Manifest) **Limit { return &m.Limit },
		"How many HTTP requests are let in, such as 100/s. Default: no limit."),
	key("async", mapping(asyncKeys), func(m *Manifest) *Async { return &m.Async },
		"How calls are handled that are stored first, and answered later."),
	key("triggers", mapping(triggerKeys), func(m *Manifest) *Triggers { return &m.Triggers },
		"What starts the function, beside the path and the subject it always has."),
}}

var scaleKeys = keys[Scale]{
	fields: []field[Scale]{
		key("min", integer(0, MaxWorkers), func(s *Scale) *int { return &s.Min },
			"Workers that are kept even when idle."),
		key("max", integer(0, MaxWorkers), func(s *Scale) *int { return &s.Max },
			"The most workers. 0: the number of cores."),
		key("idle", duration(MinIdle, MaxIdle), func(s *Scale) *time.Duration { return &s.Idle },
			"How long a worker may be idle before it stops: 1s to 24h."),
	},
	check: func(r *reader, n node, s *Scale) {
		if s.Max != 0 && s.Min > s.Max {
			r.bad(n.child("min"), "", "must be at most scale.max, which is %d, not %d", s.Max, s.Min)
		}
	},
}

var accessKeys = keys[Access]{fields: []field[Access]{
	key("functions", texts(functionPattern), func(a *Access) *[]string { return &a.Functions },
		"Functions it may call, \"@acme/orders\" for one that the namespace acme exports. * stands for any characters."),
	key("buckets", texts(bucketPattern), func(a *Access) *[]string { return &a.Buckets },
		"KV buckets it may read and write. * stands for any characters."),
	key("subjects", texts(subjectPattern), func(a *Access) *[]string { return &a.Subjects },
		"NATS subjects it may publish to, with the wildcards * and >."),
	key("config", texts(configPattern), func(a *Access) *[]string { return &a.Config },
		"Configuration keys it may read. * stands for any characters."),
	key("secrets", texts(configPattern), func(a *Access) *[]string { return &a.Secrets },
		"Secrets it may read. * stands for any characters."),
}}

var corsKeys = keys[CORS]{
	fields: []field[CORS]{
		required(key("origins", texts(corsOrigin), func(c *CORS) *[]string { return &c.Origins },
			`Origins such as https://example.com or https://*.example.com, or "*".`)),
		key("methods", texts(httpMethod), func(c *CORS) *[]string { return &c.Methods },
			"Methods a page may use. Default: GET, HEAD, POST."),
		key("headers", texts(headerName), func(c *CORS) *[]string { return &c.Headers },
			`Request headers a page may set, or "*".`),
		key("expose", texts(headerName), func(c *CORS) *[]string { return &c.Expose },
			`Response headers a page may read, or "*".`),
		key("credentials", boolean(), func(c *CORS) *bool { return &c.Credentials },
			"Whether cookies and authorization are allowed."),
		key("maxAge", duration(time.Second, 24*time.Hour), func(c *CORS) *time.Duration { return &c.MaxAge },
			"How long a browser may remember the permission: 1s to 24h."),
	},
	check: checkCORS,
}

var triggerKeys = keys[Triggers]{fields: []field[Triggers]{
	key("http", list(mapping(routeKeys), MaxRoutes, checkRoutes), func(t *Triggers) *[]Route { return &t.HTTP },
		"HTTP routes."),
	key("event", list(mapping(eventKeys), MaxEvents, checkEvents), func(t *Triggers) *[]Event { return &t.Event },
		"Events that start the function."),
	key("schedule", list(mapping(scheduleKeys), MaxSchedules, nil), func(t *Triggers) *[]Schedule { return &t.Schedule },
		"Times that start the function."),
	key("subscribe", list(mapping(subscribeKeys), MaxSubscriptions, nil), func(t *Triggers) *[]Subscribe { return &t.Subscribe },
		"Messages that start the function, as they come, and are stored nowhere."),
	key("kv", list(mapping(kvKeys), MaxKV, checkKVs), func(t *Triggers) *[]KV { return &t.KV },
		"Changes of the keys of buckets that start the function."),
}}

var routeKeys = keys[Route]{check: checkRoute, fields: []field[Route]{
	required(key("path", text(schema{"pattern": "^/"}, checkPath), func(t *Route) *string { return &t.Path },
		"Path in the syntax of Go's ServeMux: /pets/{id}, /files/{path...}, /{$}.")),
	key("methods", texts(httpMethod), func(t *Route) *[]string { return &t.Methods },
		"Methods it takes. Default: all, and POST for an event."),
	key("host", text(schema{"pattern": hostPattern.String()}, checkHost), func(t *Route) *string { return &t.Host },
		"Host name it answers to. Default: all."),
	key("endpoint", text(schema{"pattern": namePattern.String(), "maxLength": MaxNameLength}, checkLabel),
		func(t *Route) *string { return &t.Endpoint }, "Endpoint it invokes. Default: the root."),
	key("event", text(schema{"pattern": `^[^$\s{][^\s]*$`, "maxLength": maxSubject}, checkRouteSubject),
		func(t *Route) *string { return &t.Event }, "Subject of an event that it stores, and invokes nothing. Wildcards of the path may be parts: orders.{id}.paid."),
	key("public", boolean(), func(t *Route) *bool { return &t.Public },
		"Whether anybody may use it, on hosts that ask who comes."),
	key("scopes", texts(leaveScope), func(t *Route) *[]string { return &t.Scopes },
		"Scopes that let an account use it. Default: the function's."),
	key("limit", optional(limits()), func(t *Route) **Limit { return &t.Limit },
		"How many requests for the route are let in, such as 100/s; they count for the limit of the function, too. Default: no limit."),
}}
