// Package gitpush is a git remote over smart HTTP whose push is a build: whoever
// can git push needs no other tool to deploy.
//
//	git remote add fnhost http://127.0.0.1:8081/git/hello.git
//	git push fnhost HEAD:main
//
// A [Server] is an [http.Handler] for such URLs. A push reaches [Config.Deploy] as
// a directory that holds the pushed tree, while the pusher waits and reads what
// Deploy prints. If Deploy fails, git shows its error, the push is rejected, and
// nothing of it is kept:
//
//	remote: hello.go:7:9: undefined: greeting
//	 ! [remote rejected] HEAD -> main (pre-receive hook declined)
//
// # What deploys
//
// A push of main or master deploys. HEAD follows the one that was deployed last,
// so that a clone checks out what runs. A push may rewrite history (git push -f).
// Tags are kept and deploy nothing, so that push.followTags does no harm. Other
// branches, other refs, main together with master, and deletions are refused, as
// is all that is pushed with them.
//
// A push without a new commit deploys nothing, because git does not send it: git
// commit --allow-empty deploys the same files once more.
//
// The tree is that of the commit, byte by byte: no attributes, filters, LFS or
// hooks. Files of submodules are not part of a push, and are left out with a note.
// Symbolic links that leave the tree are refused, as are objects that git fsck
// finds wrong, and trees beyond the limits in [Config].
//
// # The order of things
//
// Git receives the objects into a directory beside the repository's own, and
// starts its pre-receive hook. That is this very program under another name, see
// [IsHook]; it asks the Server over a Unix socket. The Server waits until no
// other push to the repository is between its Deploy and its end; if the branch
// has moved meanwhile, the push is rejected, with the advice to pull. Then it
// extracts the tree and calls Deploy. Git moves the objects and the branch only
// after Deploy has succeeded.
//
// A pusher who interrupts git push while Deploy runs does not stop it: Deploy goes on to its
// end, and the branch moves if it succeeded. One who interrupts it before all
// objects have arrived has pushed nothing.
//
// # Repositories
//
// The first push of a valid name (manifest.ValidName) makes a repository, also
// if it is rejected in the end. Cloning and fetching work once something was
// pushed. Each push is stored as one pack; after some twenty git gc makes one of
// them. What was pushed and is no part of any history any more, because that was
// rewritten, is removed at the first such occasion a day later. Pushes from
// shallow clones, as CI systems have them, are accepted; they need git push
// --force where they do not hold the commit that was pushed before. What is
// cloned later is then shallow, too (git fetch needs --update-shallow).
//
// # Who may push
//
// Everybody who reaches the handler: authenticate before it. Git asks its user,
// or a credential helper, for a password when it gets status 401 with
// WWW-Authenticate: Basic, before it sends what is large.
//
// Git runs with an environment made from scratch, without the system's and the
// user's settings, in process groups that end with the Server.
package gitpush
