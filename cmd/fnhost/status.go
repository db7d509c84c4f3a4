package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show how the host is", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(s)
		}
		return a.printStatus(&s)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) printStatus(s *admin.Status) error {
	var states []string
	for _, state := range sortedKeys(s.Functions) {
		states = append(states, fmt.Sprintf("%d %s", s.Functions[state], state))
	}
	stored := ""
	if s.Stored != nil {
		stored = fmt.Sprintf("%s of programs, %s of sources, %s of records",
			orDash(size(int64(s.Stored.Artifacts))), orDash(size(int64(s.Stored.Sources))), orDash(size(int64(s.Stored.Records))))
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"fnhost", s.Version + " (" + s.Go + ")"}, {"up", time.Since(s.Started).Round(time.Second).String()}, {"gateway", s.HTTP}, {"admin", s.Admin}, {"nats", s.NATS},
		{"functions", orDash(strings.Join(states, ", "))}, {"workers", fmt.Sprintf("%d, running %d invocations", s.Workers, s.Running)},
		{"data", s.Dir}, {"stored", stored}, {"free", freeText(s)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	for i, d := range s.Deploys {
		if i == 5 {
			break
		}
		state := "goes on"
		if d.Ended != nil {
			state = "done"
		}
		if d.Error != "" {
			state = "failed: " + oneLine(d.Error)
		}
		what := strings.TrimSpace(d.ID + " " + strings.Join(d.Functions, ", "))
		fmt.Fprintf(w, "deploy\t%s, %s ago: %s\n", what, age(&d.Started), state)
	}
	return w.Flush()
}

// freeText says how much room there is, and if that is none what comes of it.
func freeText(s *admin.Status) string {
	if s.Dir == "" { // of a namespace, which has no disk of its own
		return s.Storage
	}
	text := "-"
	if s.Free >= 0 {
		text = cmp.Or(size(s.Free), "0 B")
	}
	if s.Storage != "" {
		text += ": " + s.Storage
	}
	return text
}
