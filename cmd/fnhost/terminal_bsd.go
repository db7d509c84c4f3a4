//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import "golang.org/x/sys/unix"

// Requests of the settings of a terminal.
const (
	readTermios  = unix.TIOCGETA
	writeTermios = unix.TIOCSETA
)
