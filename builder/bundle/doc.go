// Package bundle is the form in which source travels to a server and lies in
// its store: a gzipped tar of a directory.
//
// [Pack] writes one, [Unpack] reads one, and [Inspect] tells what Pack would
// send and by what digest, without sending it.
//
// # What is in a bundle
//
// Regular files and symbolic links, sorted by path. Directories follow from the
// paths; empty ones are not kept. Times, owners and modes are not kept either,
// but for the executable bit: files are 0644 or 0755. So equal trees give equal
// bytes (from programs built with the same Go release, which compresses), and
// always an equal digest.
//
// A link is sent as a link. It must be relative, and lead to a place in the tree,
// also where it passes other links; whether something is there does not matter.
//
// # What is left out
//
// What .gitignore files say, those of the tree and those above it up to the
// root of the git repository, as git itself reads them. Files of the same syntax
// called .fnhostignore overrule them: what any of these says, in or out, holds
// whatever a .gitignore says. As in git, what lies in a directory that is
// left out cannot be brought back: bring back the directory.
//
// That the tree itself lies in an ignored directory does not matter: it was asked
// for by name. Git's index, .git/info/exclude and core.excludesFile are not
// looked at: the files alone decide, on every machine in the same way.
//
// Always left out, whatever rules say: .git, .hg, .svn, .bzr, node_modules,
// .fnhost, what editors and file managers leave behind (backup~, .name.swp,
// #autosave#, .#lock, 4913, .DS_Store and the like), and what is neither file,
// directory nor link.
//
// The syntax is implemented here because go-git's matcher, the one that is still
// maintained, decides otherwise than git on character classes, ** and re-included
// directories, and brings six modules; tests compare this one with git itself.
//
// # The digest
//
// The hexadecimal SHA-256 of the line "fnhost bundle 1" and one line for each
// entry, sorted by the bytes of its path, quoted as by strconv.QuoteToASCII:
//
//	file 0644 <size> <hexadecimal SHA-256 of the contents> "<path>"
//	link "<target>" "<path>"
//
// It depends on what will lie in the directory, and on nothing else.
//
// # Safety
//
// Unpack trusts nothing it reads. It writes through an [os.Root], makes links
// last, and refuses what Pack would not have sent, except for things that do no
// harm: entries in another order, entries of directories, other modes, owners and
// times, and names that begin with "./". Other tars can so be sent, too.
//
// Sizes are believed only after they were checked, every byte that comes out of
// the compressor is counted, and after an error nothing is left behind.
package bundle
