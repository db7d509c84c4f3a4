package manifest

import (
	"strings"
	"testing"
)

// The errors in these tests are those of Error.Error without the file's name.
var mistakes = []struct{ name, data, want string }{
	// Broken YAML.
	{"an open list", "env: {A: 1}\naccess: [1\nqueue: 2\n", `3:1: ',' or ']' must be specified`},
	{"braces without quotes in flow style", "triggers: {http: [{path: /pets/{id}}]}\n", `1:32: ',' or '}' must be specified (put text with braces in quotes)`},
	{"an open quote", "name: \"x\n", `1:7: could not find end character of double-quoted text`},
	{"two colons", "name: x: y\n", `1:7: mapping value is not allowed in this context`},
	{"a key deeper than its siblings", "scale:\n  min: 1\n max: 2\n", `3:2: value is not allowed in this context`},
	{"a tab indents", "scale:\n\tmin: 1\n", `2:1: a tab cannot indent a line (use spaces)`},
	{"a tab indents a later key", "scale:\n  min: 1\n\tmax: 1\n", `3:1: a tab cannot indent a line (use spaces)`},
	{"a tab in text", "env: {A: x\ty}\n", `1:10: a tab in or around text (use spaces, or write "\t" in quotes)`},
	{"a tab in double quotes", "env:\n  A: \"x\ty\"\n  B: [1]\n", `2:6: a tab in or around text (use spaces, or write "\t" in quotes)`},
	{"a tab before a value", "name:\tx\n", `1:6: a tab in or around text (use spaces, or write "\t" in quotes)`},
	{"not UTF-8", "name: x\nenv: {A: é\xff}\n", `2:11: the file is not UTF-8 text (save it as UTF-8)`},
	{"a control character", "name: x\x00\n", `1:8: the control character U+0000 cannot be in the file`},
	{"a lone carriage return", "queue: 1\rname: a", `1:9: a carriage return without a line feed (end lines with a line feed)`},
	{"several documents", "queue: 1\n---\nqueue: 2\n", `3:1: a second YAML document, and a manifest is one`},
	{"a document after an end", "queue: 1\n...\nqueue: 2\n", `3:1: a second YAML document, and a manifest is one`},
	{"an anchor and an alias", "body: &x 1\nmemory: *x\n", "1:7: anchors are not supported (put text that begins with & in quotes)\n" +
		`2:9: aliases are not supported (put text that begins with * in quotes: "*")`},
	{"a star without quotes", "cors:\n  origins: [*]\n", `2:13: aliases are not supported (put text that begins with * in quotes: "*")`},
	{"a merge key", "<<: {queue: 1}\n", `1:1: merge keys are not supported`},
	{"a tag", "name: !!str 1\n", `1:7: tags are not supported (put text that begins with ! in quotes)`},
	{"a directive", "%YAML 1.2\n---\nqueue: 1\n", `1:1: directives are not supported`},
	{"a complex key", "? name\n: x\n", `1:1: keys that begin with "?" are not supported (write key: value)`},
	{"too deep", "env: " + strings.Repeat("[", 20), `1:22: nested more than 16 deep`},

	// Keys.
	{"an unknown key with a near one", "name: x\ntimout: 30s\n", `2:1: unknown key "timout" (did you mean "timeout"?)`},
	{"an unknown key of another case", "Timeout: 30s\n", `1:1: unknown key "Timeout" (did you mean "timeout"?)`},
	{"an unknown key without a near one", "scale:\n  min: 1\n  wrkrs: 30s\n", `3:3: unknown key "wrkrs" (the keys here are min, max, idle)`},
	{"an unknown key in flow style", "scale: {min: 1, mx: 2}\n", `1:17: unknown key "mx" (did you mean "max"?)`},
	{"an unknown key in access", "access:\n    bucket: [a]\n", `2:5: unknown key "bucket" (did you mean "buckets"?)`},
	{"an unknown key in cors", "cors: {origins: [\"*\"], maxage: 1s}\n", `1:24: unknown key "maxage" (did you mean "maxAge"?)`},
	{"an unknown kind of trigger", "triggers:\n  https: []\n", `2:3: unknown key "https" (did you mean "http"?)`},
	{"an unknown key in a route", "triggers:\n  http:\n    - path: /a\n      method: [GET]\n", `4:7: unknown key "method" (did you mean "methods"?)`},
	{"a key that is no text", "1: 2\n", `1:1: unknown key "1" (the keys here are name, runtime, timeout, concurrency, queue, scale, memory, network, processes, disk, sandbox, body, env, public, scopes, access, config, cors, limit, async, triggers)`},
	{"a repeated key", "queue: 1\nname: x\nqueue: 2\n", `3:1: key "queue" is already on line 1`},
	{"a repeated key below", "scale:\n  min: 1\n  \"min\": 2\n", `3:3: key "min" is already on line 2`},
	{"a key without a value", "timeout:\nname: x\n", `1:1: timeout has no value (remove the key for the default)`},
	{"a null", "timeout: null\n", `1:10: timeout has no value (remove the key for the default)`},
	{"access without a value", "name: x\naccess:\n", `2:1: access has no value (remove the key for the default)`},
	{"an item without a value", "access:\n  buckets:\n    - a\n    -\n", `4:5: access.buckets[1] has no value`},

	// Types.
	{"text after a comment", "# comment\njust text\n", `2:1: the manifest must be a mapping of keys, not "just text" (write key: value)`},
	{"no mapping", "just text\n", `1:1: the manifest must be a mapping of keys, not "just text" (write key: value)`},
	{"a list at the root", "- a\n", `1:1: the manifest must be a mapping of keys, not a list (write key: value)`},
	{"a key without a space", "queue:1\n", `1:1: the manifest must be a mapping of keys, not "queue:1" (write key: value)`},
	{"a list for a duration", "timeout: [1]\n", `1:10: timeout must be a duration such as 30s or 5m, not a list`},
	{"a mapping for a duration", "timeout:\n  seconds: 1\n", `2:3: timeout must be a duration such as 30s or 5m, not a mapping`},
	{"text for a number", "concurrency: many\n", `1:14: concurrency must be a whole number, not "many"`},
	{"a quoted number", "concurrency: \"5\"\n", `1:14: concurrency must be a whole number, not "5"`},
	{"a fraction for a number", "queue: 1.5\n", `1:8: queue must be a whole number, not 1.5`},
	{"a hexadecimal number", "queue: 0x10\n", `1:8: queue must be a whole number, not 0x10`},
	{"an octal number", "queue: 010\n", `1:8: queue must be a whole number, not 010`},
	{"a number for a name", "name: 404\n", `1:7: name must be text, not 404 (write "404")`},
	{"a list for text", "name: [a]\n", `1:7: name must be text, not a list`},
	{"text for a mapping", "scale: 3\n", `1:8: scale must be a mapping of keys, not 3 (write key: value)`},
	{"text for a list", "access:\n  functions: orders\n", `2:14: access.functions must be a list, not "orders" (write [orders])`},
	{"special text for a list", "access:\n  functions: \"pay-*\"\n", `2:14: access.functions must be a list, not "pay-*" (write ["pay-*"])`},
	{"text for true or false", "cors: {origins: [\"*\"], credentials: yes}\n", `1:37: cors.credentials must be true or false, not "yes"`},
	{"a mapping for a route list", "triggers:\n  http:\n    path: /a\n", `3:5: triggers.http must be a list, not a mapping`},
	{"text for a route", "triggers: {http: [/a]}\n", `1:19: triggers.http[0] must be a mapping of keys, not "/a" (write key: value)`},

	// Values.
	{"a duration without a unit", "timeout: 30\n", `1:10: timeout needs a unit (write "30s")`},
	{"a quoted duration without a unit", "timeout: \"30\"\n", `1:10: timeout needs a unit (write "30s")`},
	{"days", "scale: {idle: 2d}\n", `1:15: scale.idle has the unit d, and the units are ms, s, m and h (write "48h")`},
	{"no duration", "timeout: soon\n", `1:10: timeout must be a duration such as 30s or 5m, not "soon"`},
	{"a negative duration", "timeout: -5s\n", `1:10: timeout must be a duration such as 30s or 5m, not "-5s"`},
	{"a timeout too long", "timeout: 16m\n", `1:10: timeout must be from 1ms to 15m, not 16m`},
	{"a timeout of nothing", "timeout: 0s\n", `1:10: timeout must be from 1ms to 15m, not 0s`},
	{"a duration beyond all", "timeout: 99999999999999h\n", `1:10: timeout must be from 1ms to 15m, not 99999999999999h`},
	{"idle too short", "scale: {idle: 10ms}\n", `1:15: scale.idle must be from 1s to 24h, not 10ms`},
	{"a size with a short unit", "memory: 256M\n", `1:9: memory must be a size such as 256MiB or 1GB, not "256M" (write "256MiB")`},
	{"a size in lower case", "memory: 256 mb\n", `1:9: memory must be a size such as 256MiB or 1GB, not "256 mb" (write "256MB")`},
	{"no size", "body: large\n", `1:7: body must be a size such as 256MiB or 1GB, not "large" (the units are KiB, MiB, GiB, KB, MB and GB)`},
	{"a size too large", "body: 2GiB\n", `1:7: body must be from 1 byte to 1GiB, not 2GiB`},
	{"a size that overflows", "body: 18446744073709551615GiB\n", `1:7: body must be from 1 byte to 1GiB, not 18446744073709551615GiB`},
	{"a size whose product overflows", "body: 9223372036854775807GiB\n", `1:7: body must be from 1 byte to 1GiB, not 9223372036854775807GiB`},
	{"another network", "network: outgoing\n", `1:10: network must be none or outbound, not "outgoing"`},
	{"a near network", "network: outbond\n", `1:10: network must be none or outbound, not "outbond" (write outbound)`},
	{"a sandbox that is none", "sandbox: no\n", `1:10: sandbox must be auto or strict, not "no"`},
	{"too few processes", "processes: 1\n", `1:12: processes must be from 32 to 100000, not 1`},
	{"a small disk", "disk: 1KiB\n", `1:7: disk must be from 1MiB to 1024GiB, not 1KiB`},
	{"memory too small", "memory: 1024\n", `1:9: memory must be from 4MiB to 1024GiB, not 1024`},
	{"a number too small", "concurrency: 0\n", `1:14: concurrency must be from 1 to 10000, not 0`},
	{"a number too large", "queue: 100001\n", `1:8: queue must be from 0 to 100000, not 100001`},
	{"a number beyond all", "queue: 99999999999999999999\n", `1:8: queue must be from 0 to 100000, not 99999999999999999999`},
	{"min above max", "scale:\n  max: 2\n  min: 3\n", `3:8: scale.min must be at most scale.max, which is 2, not 3`},
	{"an unknown runtime", "runtime: python\n", `1:10: runtime must be go, not "python"`},
	{"a runtime of another case", "runtime: Go\n", `1:10: runtime must be go, not "Go" (write go)`},
	{"a name in upper case", "name: My_Orders\n", `1:7: name must be lower-case letters, digits and inner hyphens, not "My_Orders" (write my-orders)`},
	{"a name of a version", "name: v12\n", `1:7: name must not be "v12", which names a version`},
	{"an empty name", "name: \"\"\n", `1:7: name must not be empty`},
	{"a name too long", "name: " + strings.Repeat("a", 64) + "\n", `1:7: name must have at most 63 characters, not 64`},
	{"a bad name of a variable", "env:\n  MY-VAR: x\n", `2:3: environment variable "MY-VAR" must be letters, digits and _, and not begin with a digit`},
	{"a reserved variable", "env:\n  FNHOST_X: x\n", `2:3: environment variable "FNHOST_X" begins with FNHOST_, which is reserved`},
	{"a variable that a key sets", "env: {GOMEMLIMIT: 1}\n", `1:7: environment variable "GOMEMLIMIT" is set by the host (use the key memory)`},
	{"a variable without a value", "env:\n  A:\n", `2:3: env.A has no value (write "" for the empty text)`},
	{"a list in a variable", "env:\n  A: [1]\n", `2:6: env.A must be text, not a list`},
	{"a NUL in a variable", "env:\n  A: \"\\0\"\n", `2:6: env.A must not hold a NUL character`},

	// Access and CORS.
	{"a bad function pattern", "access: {functions: [a, B]}\n", `1:25: access.functions[1] must be lower-case letters, digits, hyphens and *, after @NAMESPACE/ for those of another namespace, not "B"`},
	{"a repeated item", "access: {buckets: [a, b, a]}\n", `1:26: access.buckets[2] repeats "a"`},
	{"a subject with a wild end inside", "access: {subjects: [a.>.b]}\n", `1:21: access.subjects[0] must have > at its end only, not "a.>.b"`},
	{"a subject with a partial wildcard", "access: {subjects: [a.b*]}\n", `1:21: access.subjects[0] must have * and > as whole parts between dots, not "a.b*"`},
	{"a subject with an empty part", "access: {subjects: [a..b]}\n", `1:21: access.subjects[0] must not have an empty part between dots, as "a..b" has`},
	{"a subject with a space", "access: {subjects: [a b]}\n", `1:21: access.subjects[0] must not have spaces, as "a b" has`},
	{"a subject of the server", "access: {subjects: [$JS.API.>]}\n", `1:21: access.subjects[0] must not begin with $, which is the server's`},
	{"cors without origins", "cors:\n  methods: [GET]\n", `2:3: cors needs the key "origins"`},
	{"cors with no origin", "cors: {origins: []}\n", `1:17: cors.origins must not be empty (remove cors to allow none)`},
	{"an origin without a scheme", "cors: {origins: [example.com]}\n", `1:18: cors.origins[0] must be "*" or an origin such as https://example.com, not "example.com" (write https://example.com)`},
	{"an origin with a path", "cors: {origins: [\"https://a.b/c\"]}\n", `1:18: cors.origins[0] must be "*" or an origin such as https://example.com, not "https://a.b/c"`},
	{"credentials for everybody", "cors:\n  origins: [\"*\"]\n  credentials: true\n", `3:16: cors.credentials cannot be true with the origin "*" (list the origins)`},
}

var routeMistakes = []struct{ name, route, want string }{
	{"no path", `methods: [GET]`, `5:5: triggers.http[1] needs the key "path"`},
	{"no slash", `path: pets`, `5:11: triggers.http[1].path must begin with "/", not "pets" (write /pets)`},
	{"a method in the path", `path: GET /pets`, `5:11: triggers.http[1].path must begin with "/", not "GET /pets" (write path: /pets and methods: [GET])`},
	{"a query", `path: /a?b=c`, `5:11: triggers.http[1].path must not have "?" or "#" (a route matches the path alone)`},
	{"a space", `path: /a b`, `5:11: triggers.http[1].path must not have spaces (write %20 for a space)`},
	{"a broken escape", `path: /a%2`, `5:11: triggers.http[1].path has a % that no two hexadecimal digits follow (write %25 for a %)`},
	{"an unclean path", `path: /a//b/../c/`, `5:11: triggers.http[1].path can never match, because "/a//b/../c/" is cleaned first (write /a/c/)`},
	{"a wildcard in a segment", `path: "/a{b}"`, `5:11: triggers.http[1].path must have a wildcard as a whole segment, not "a{b}" (write /{name}/)`},
	{"an open wildcard", `path: "/{b/c"`, `5:11: triggers.http[1].path must have a wildcard as a whole segment, not "{b" (write /{name}/)`},
	{"a bad name of a wildcard", `path: "/{pet-id}"`, `5:11: triggers.http[1].path must have a name of letters, digits and _ in a wildcard, not "{pet-id}"`},
	{"a wildcard without a name", `path: "/{}"`, `5:11: triggers.http[1].path must have a name of letters, digits and _ in a wildcard, not "{}"`},
	{"the rest before the end", `path: "/{rest...}/a"`, `5:11: triggers.http[1].path must have {rest...} at its end only`},
	{"the end before the end", `path: "/{$}/a"`, `5:11: triggers.http[1].path must have {$} at its end only`},
	{"a wildcard twice", `path: "/{a}/{a}"`, `5:11: triggers.http[1].path must not have the wildcard {a} twice`},
	{"a method in lower case", `{path: /a, methods: [get]}`, `5:26: triggers.http[1].methods[0] must be an HTTP method, not "get" (write GET)`},
	{"a method mistyped", `{path: /a, methods: [DELTE]}`, `5:26: triggers.http[1].methods[0] must be an HTTP method, not "DELTE" (write DELETE)`},
	{"a method of their own in lower case", `{path: /a, methods: [summarize]}`, `5:26: triggers.http[1].methods[0] must be an HTTP method in upper case, not "summarize" (write SUMMARIZE)`},
	{"a method that is none", `{path: /a, methods: ["a b"]}`, `5:26: triggers.http[1].methods[0] must be an HTTP method in upper case, not "a b"`},
	{"a repeated method", `{path: /a, methods: [GET, GET]}`, `5:31: triggers.http[1].methods[1] repeats "GET"`},
	{"a host with a port", `{path: /a, host: "Shop.example.com:80"}`, `5:22: triggers.http[1].host must be a host name such as shop.example.com, not "Shop.example.com:80" (write shop.example.com)`},
	{"an endpoint in upper case", `{path: /a, endpoint: Create}`, `5:26: triggers.http[1].endpoint must be lower-case letters, digits and inner hyphens, not "Create" (write create)`},
	{"a repeated route", `path: /first/{name}`, `5:11: triggers.http[1].path repeats the route on line 3`},
	{"an overlapping route", `path: /{a}/x`, `5:11: triggers.http[1].path overlaps the route on line 3, and neither is more specific (make one of them more specific than the other)`},
}

func TestParseReportsMistakesWithTheirPlace(t *testing.T) {
	for _, test := range mistakes {
		t.Run(test.name, func(t *testing.T) { checkMistake(t, test.data, test.want) })
	}
	for _, test := range routeMistakes {
		t.Run("route with "+test.name, func(t *testing.T) {
			data := "triggers:\n  http:\n  - path: /first/{id}\n    methods: [GET, PUT]\n  - " + test.route + "\n"
			if strings.Contains(test.want, "the route on") {
				data += "    methods: [PUT]\n"
			}
			checkMistake(t, data, test.want)
		})
	}
}

func checkMistake(t *testing.T, data, want string) {
	t.Helper()
	for _, ending := range []string{"\n", "\r\n"} {
		m, err := Parse("f", []byte(strings.ReplaceAll(data, "\n", ending)))
		if err == nil {
			t.Fatalf("no error, want %s", want)
		}
		if m != nil {
			t.Errorf("a manifest beside the error")
		}
		if got := strings.ReplaceAll(err.Error(), "f:", ""); got != want {
			t.Errorf("with %q:\n got %s\nwant %s", ending, got, want)
		}
	}
}

func TestParseReportsAllMistakesInOrder(t *testing.T) {
	checkMistake(t, "scale: {min: 3, max: 2}\nquue: 1\ntimeout: 30\nenv: {1: 2}\nqueue: x\n", strings.Join([]string{
		`1:14: scale.min must be at most scale.max, which is 2, not 3`,
		`2:1: unknown key "quue" (did you mean "queue"?)`,
		`3:10: timeout needs a unit (write "30s")`,
		`4:7: environment variable "1" must be letters, digits and _, and not begin with a digit`,
		`5:8: queue must be a whole number, not "x"`,
	}, "\n"))
}
