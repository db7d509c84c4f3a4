package main

import "golang.org/x/sys/unix"

// Requests of the settings of a terminal.
const (
	readTermios  = unix.TCGETS
	writeTermios = unix.TCSETS
)
