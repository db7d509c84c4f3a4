package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
)

// finding is what doctor has to say about one thing.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn or fail
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do
}

// Status of findings.
const (
	statusOK   = "ok"
	statusWarn = "warn" // it works, less well
	statusFail = "fail" // it does not work
)

func (a *app) doctorCommand() *cobra.Command {
	var cfg host.Config
	cmd := &cobra.Command{
		Use:   "doctor [DIR...]",
		Short: "Check what fnhost needs of this machine",
		Long: `Check what 'fnhost dev DIR' needs of this machine, with the same settings, and say what to do.
The exit code is 1 if something is missing that it cannot do without.`,
	}
	placeFlags(cmd.Flags(), &cfg)
	cmd.Flags().StringVar(&cfg.Dir, "data", "", defaultDataHelp)
	cmd.Flags().StringSliceVar(&cfg.Watch, "watch", []string{"."}, "folders to watch, if none are named as DIR")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			cfg.Watch = args
		}
		if cfg.Dir == "" {
			dir, err := defaultData(cfg.Watch[0])
			if err != nil {
				return err
			}
			cfg.Dir = dir
		}
		return a.doctor(examine(cmd.Context(), &cfg))
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// examine runs all checks.
func examine(ctx context.Context, cfg *host.Config) []finding {
	list := []finding{checkGo(ctx), checkCache(cfg.Builder.Cache), checkData(cfg.Dir)}
	for _, dir := range cfg.Watch {
		list = append(list, checkFolder(dir))
	}
	var running *admin.Info
	if info, err := runningAt(ctx, cfg.Admin); err == nil {
		running = &info
	}
	for _, l := range listeners(cfg) {
		list = append(list, checkPort(l, running))
	}
	list = append(list, checkFiles())
	list = append(list, checkSystem()...)
	return append(list, checkGit())
}

func (a *app) doctor(list []finding) error {
	failed := 0
	for _, f := range list {
		if f.Status == statusFail {
			failed++
		}
	}
	if err := a.printFindings(list); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed: what to do stands below each", failed, len(list))
	}
	return nil
}

func (a *app) printFindings(list []finding) error {
	if a.output == "json" {
		return a.printJSON(list)
	}
	p := a.painter(a.stdout)
	colours := map[string]int{statusOK: green, statusWarn: yellow, statusFail: red}
	for _, f := range list {
		if a.quiet && f.Status == statusOK {
			continue
		}
		fmt.Fprintf(a.stdout, "%s  %-18s  %s\n", p.paint(colours[f.Status], fmt.Sprintf("%-4s", f.Status)), f.Check, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(a.stdout, "%26s%s\n", "", f.Fix)
		}
	}
	return nil
}
