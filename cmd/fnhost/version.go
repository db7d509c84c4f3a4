package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host"
)

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Say what version this is", Args: cobra.NoArgs}
	cmd.RunE = func(*cobra.Command, []string) error {
		v := struct {
			Version  string `json:"version"`
			Revision string `json:"revision,omitempty"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{host.Version, "", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					v.Revision = s.Value
				}
			}
		}
		if a.output == "json" {
			return a.printJSON(v)
		}
		_, err := fmt.Fprintf(a.stdout, "fnhost %s %s %s\n", v.Version, v.Go, v.Platform)
		return err
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}
