// Package registry is what a host knows of the functions that were deployed to
// it: versions, which never change, and releases, which say what versions get
// the invocations. It lies in JetStream, so that all nodes of a cluster see the
// same, and so that it is there again after a kill -9.
//
// The bucket "registry" holds, as JSON,
//
//	function.<namespace>.<name>          a [Function]: its release; the one record that changes
//	version.<namespace>.<name>.<number>  a [Version]
//	log.<namespace>.<name>.<number>      what its build said, as text
//	damaged.function.<namespace>.<name>  a record that could not be read, as it was when a release took its place
//
// and the object stores "artifacts" and "sources" hold programs and bundles, each
// under the SHA-256 of its content, so that what is equal is stored once.
//
// A release is one compare-and-set of one record: it is there as a whole or not at
// all. What belongs to a version is stored before the version is, and the version
// before its release, so that what a record names is there.
package registry
