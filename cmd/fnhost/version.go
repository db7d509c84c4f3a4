package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host"
)

// versionInfo says what this program is made of.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // there were changes beside the revision
	Module   string `json:"module,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readVersion() versionInfo {
	v := versionInfo{Version: host.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Module = info.Main.Path
	if info.Main.Version != "" {
		v.Module += "@" + info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Say what version this is", Args: between(0, 0, "")}
	cmd.RunE = func(*cobra.Command, []string) error { return a.printVersion() }
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printVersion() error {
	v := readVersion()
	if a.output == "json" {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.stdout, "fnhost %s %s %s\n", v.Version, v.Go, v.Platform)
	if err == nil && v.Module != "" {
		_, err = fmt.Fprintln(a.stdout, v.Module)
	}
	return err
}
