package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host"
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
		Use:   "doctor [DIR]",
		Short: "Check what fnhost needs of this machine",
		Long: `Check what 'fnhost dev DIR' needs of this machine, with the same settings, and say what to do.
The exit code is 1 if something is missing that it cannot do without.`,
		Args: between(0, 1, "DIR"),
	}
	placeFlags(cmd.Flags(), &cfg)
	cmd.Flags().StringVar(&cfg.Dir, "data", "", "data directory (default .fnhost beside the first folder)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cfg.Dir == "" {
			dir, err := defaultData(append(args, ".")[0])
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
	list := []finding{
		checkGo(ctx), checkCache(cfg.Builder.Cache), checkData(cfg.Dir),
		checkPort(ctx, "gateway", cfg.HTTP), checkPort(ctx, "admin", cfg.Admin), checkPort(ctx, "nats", cfg.NATS),
		checkFiles(),
	}
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
