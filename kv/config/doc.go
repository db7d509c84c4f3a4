// Package config keeps configuration in a bucket: one JSON object a layer, which are
// merged into what a function reads. The later layer wins:
//
//	the defaults in its manifest < its namespace < the function < one version of it
//
// Objects are merged key by key, all else replaces what was there, and null takes it
// away. A layer changes as a whole, by compare-and-set of all layers at once: so two
// who set different paths at the same time both have their way, and a check of what
// the layers make together (see [Check]) holds for what is stored. The 64 latest
// revisions of a layer are kept, and can be gone back to.
//
// # Paths
//
// A path is keys with dots between them, "limits.rate"; in a list a number stands for
// an item, from 0: "servers.0.host". The empty path is the whole object. A key with a
// dot in it can be part of a value, but no path leads into it.
//
// # Numbers
//
// Numbers are [json.Number], as they were written: none is rounded.
//
// A [Schema] tells what fits. It is a JSON Schema (draft 2020-12), which nothing is
// ever loaded for.
package config
