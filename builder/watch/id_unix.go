//go:build unix

package watch

import (
	"io/fs"
	"syscall"
)

// A fileID tells files apart whatever their names. The zero value is unknown.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{dev: uint64(st.Dev), ino: uint64(st.Ino)}
}
