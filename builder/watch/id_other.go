//go:build !unix

package watch

import "io/fs"

// A fileID tells files apart whatever their names. The zero value is unknown,
// and is all there is on systems whose FileInfo has no inode number.
type fileID struct{ dev, ino uint64 }

func idOf(fs.FileInfo) fileID { return fileID{} }
