// Package fnhost holds what the whole module shares: the source of the library
// that functions are built with, so that a host needs no network to build one.
//
// The program is cmd/fnhost; a program of your own imports host.
package fnhost

import "embed"

// SDK is the source of the packages that are compiled into functions: functions,
// functions/wire, functions/httpfn and kv. They import the standard library only.
//
//go:embed functions/*.go functions/wire/*.go functions/wire/kvwire/*.go functions/httpfn/*.go kv/*.go
var SDK embed.FS

// Module is the module path that functions import them by.
const Module = "github.com/fnhost/fnhost"
