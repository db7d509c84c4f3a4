// Package kvwire is buckets and stores of blobs over the frames of a worker: the calls "kv.*" and "blob.*" of package
// wire, both sides of them. [New] is the worker's side, a [kv.Bucket]; [Serve] is the
// host's, which answers from one.
//
// # Calls
//
// The header ":target" of each is the bucket. Numbers are decimal, times and durations nanoseconds;
// what is 0 or false is left out. An entry has ":revision", ":time" (when it was written),
// ":expires", and ":kind" if it is no value but a "delete", "expire" or "ready", see [kv.Op];
// of its value the payload is made. Several entries are messages ([wire.Messages]) with ":key" each.
//
//	:op         asks with                                        answers with
//	kv.get      :key                                             an entry
//	kv.put      :key :ttl :revision; the value                   :revision
//	kv.delete   :key :revision :purge                            nothing
//	kv.touch    :key :ttl                                        :revision
//	kv.add      :key :ttl :number (what to add)                  :number, the sum
//	kv.commit   a message for each change, with ":op" put,       the revisions, as decimals
//	            delete, purge, add or check, and the rest        with a space between them
//	            as above
//	kv.history  :key                                             entries
//	kv.list     :prefix :suffix :glob :after :limit              entries, and :after of the
//	            :descending :values                              next page
//	kv.count    :prefix :suffix :glob                            :number
//	kv.watch    :prefix :suffix :glob :initial :from :keys       entries, as they come
//	kv.stats                                                     [kv.Stats] in JSON
//
//	blob.put    :key; the content, of any length                  :key :size :digest :time
//	blob.get    :key                                              the same, and the content
//	blob.stat   :key                                              the same
//	blob.delete :key                                              nothing
//	blob.list   :prefix :after :limit                             a message for each, and :after
//
// A header ":revision" of a change is a condition, also if it is 0.
//
// An answer with a header ":fault" says that nothing was done, and why: its value is "not_found", "exists",
// "conflict", "invalid_key", "invalid_bucket", "invalid_query", "no_bucket",
// "too_large", "full", "ttl", "not_number", "closed", "damaged", "replaced" or "unsupported", which stand for the errors of
// package kv, and the payload is the text. A conflict has ":key", ":wanted" and ":revision" (where the key stands).
// Of a watch the last message may be one, and the content of a blob may end with an error of code "kv." and the name. What a host could not do for other reasons is an error frame.
package kvwire
