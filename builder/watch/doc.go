// Package watch tells when something below a directory changed.
//
// One [Watcher] serves a whole process: inotify allows only 128 instances per
// user, so a watcher for each directory tree would not do. Callers register
// trees; a tree is a directory with everything below it:
//
//	w, err := watch.New(watch.Config{})
//	if err != nil {
//		return err
//	}
//	defer w.Close()
//	tree, err := w.Add("functions/hello", func(c watch.Change) {
//		rebuild(c)
//	})
//
// # What a Change means
//
// A [Change] is a hint that files may differ, not a log of operations. It may
// name a file that has been saved without a difference, or one that is gone
// again. Callers that rebuild should compare contents first. What is promised
// is the other direction: after the last change below a tree, onChange is
// called, and that call begins after the change was made. A caller that looks
// at the directory in onChange therefore always ends with its last state.
//
// Changes are collected until the tree has been quiet for [Config.Debounce],
// but no longer than [Config.MaxDelay], so a branch switch is one call and not
// thousands. Paths lie below the directory that was given to [Watcher.Add],
// also when that is a symbolic link.
//
// [Change.Rescan] means that Paths is not the whole story: the kernel's event
// queue overflowed, the root was removed, came back or now is another
// directory, a symbolic link to a directory changed, or there were more than
// [MaxPaths] paths.
//
// # What is watched
//
// Linux watches single directories, so the Watcher adds a watch for each one.
// New directories are watched first and read afterwards, and what is found in
// them is reported, because files may have been written before the watch was
// there. Renamed directories are watched under their new name, and those that
// leave the tree no longer. A directory that several trees contain is watched
// once.
//
// The root may be a symbolic link, or reached through some: the link's
// directory is watched too, and when the link is pointed elsewhere (ln -sfn)
// the tree follows. A root that is removed is waited for. Both are noticed at
// once. If a directory further up is renamed, or lies on a file system that
// does not send events, it takes up to [Config.PollInterval], at which all
// roots are compared with what they were.
//
// A symbolic link to a directory inside a tree is followed, unless its target
// is watched in this tree already or contains the tree's root. A symbolic link
// to a file is an entry like any other: writing to its target is not noticed
// unless that lies in the tree.
//
// Changes of mode or times alone (chmod, touch) are not reported, except that
// a touch looks like a change when a directory is polled.
//
// # What is ignored
//
// Names that begin with a dot, except .gitignore and .fnhostignore;
// directories called node_modules; and files that editors leave while they
// save: backup~, #autosave#, vim's probe 4913, JetBrains' ___jb_tmp___ and
// ___jb_old___, kate's .kate-swp. Directories called vendor are watched,
// because the go command builds from them. Files called *.tmp are reported:
// they may be embedded in a program, and if one is the first half of an atomic
// save it coalesces with the second. The root's own name does not matter.
// [Config.Ignore] can ignore more.
//
// # When the limits are reached
//
// If the kernel refuses a watch (fs.inotify.max_user_watches) or an inotify
// instance (fs.inotify.max_user_instances), nothing fails: the directories
// concerned are polled every [Config.PollInterval], by name, size,
// modification time and inode, and one warning is logged that says so and how
// to raise the limit. A directory goes back to being watched when watches
// become free; a refused instance is not asked for again. Polling takes at
// most about a tenth of one processor: if one round takes longer than a tenth
// of the interval, the interval is stretched.
//
// File systems that do not send events (NFS and FUSE, for changes that other
// machines make) are not recognised, and not polled.
//
// # Concurrency
//
// All methods may be called from several goroutines. onChange is never called
// concurrently with itself for one tree; different trees do not wait for each
// other. Changes during a call lead to one more call. onChange may call
// [Watcher.Add] and may close other trees, but neither its own tree nor the
// Watcher, whose Close methods wait for it. Two goroutines run for a Watcher,
// and one more for each onChange that is running.
//
// On systems other than Linux the same code runs on what fsnotify offers
// there. On those without inode numbers (Windows) a directory replaced by
// another of the same name is recognised by events only.
package watch
