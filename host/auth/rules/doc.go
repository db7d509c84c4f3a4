// Package rules says who may do what: it compiles rules, and decides by them. It
// keeps nothing, asks nobody, and imports the standard library only.
//
// # Resources
//
// What is done to what is one text, whose parts are separated by colons:
//
//	function:NAME                to call a function, any endpoint of it
//	function:NAME:ENDPOINT       to call one endpoint
//	bucket:NAME:read|write       the keys of a bucket
//	blob:NAME:read|write         the blobs of a store
//	secret:NAME:read|write       a secret
//	config:NAME:read|write       configuration
//	subject:publish:SUBJECT      NATS messages; the dots of SUBJECT separate parts, too
//	subject:subscribe:SUBJECT
//	admin:ACTION                 to steer the host; see [Actions]
//
// In a rule a part may be *, which stands for one part, and the last may be >,
// which stands for one or more: bucket:*:read is to read all buckets, function:> to call
// all functions, > is everything. The first part is a kind as above, or the > that is
// all there is. A rule for function:NAME holds for its endpoints as well.
//
// Subjects that begin with $ or _, and those of the host itself (fn, dead, schedule,
// tick, later), are no resources: functions are called as function:NAME.
//
// # Who
//
// A rule is for a scope: a name that accounts have, or "public", which is anybody,
// or "*", any account. It holds in a namespace, or with "*" in all of them.
//
// A principal of one namespace meets only what is public in another one. One of namespace "*"
// belongs to all. What belongs to the host as a whole is asked with the namespace
// "*": that only rules and principals of "*" meet, and nobody else, not even by "public".
//
// # Which rule decides
//
// Of the rules that match, the one with the highest priority; of equal ones a
// deny; of those the first by ID, which changes nothing but what is told. If none
// matches nothing is decided, and a caller refuses. What is malformed matches nothing.
package rules
