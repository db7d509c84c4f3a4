package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger/codec"
)

func (a *app) logsCommand() *cobra.Command {
	var q logs.Query
	var since string
	cmd := &cobra.Command{
		Use:               "logs [NAME]",
		Short:             "Show what functions wrote and logged",
		Example:           "  fnhost logs hello -f\n  fnhost logs --since 10m --tail 100",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeFunctions,
	}
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().StringVar(&since, "since", "", "from then on: a duration such as 10m, or a time such as 2026-01-02T15:04:05Z")
	cmd.Flags().IntVarP(&q.Tail, "tail", "n", 0, "only the latest N records (default all that are kept)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			q.Function = args[0]
		}
		var err error
		if q.Since, err = parseSince(since); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		p := a.painter(a.stdout)
		return c.Logs(cmd.Context(), q, func(r logs.Record) error {
			if a.output == "json" {
				b, err := codec.Marshal(r)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.stdout, "%s\n", b)
				return err
			}
			_, err := fmt.Fprintln(a.stdout, recordText(p, &r, true))
			return err
		})
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usagef("--since %q: want a duration such as 10m, or a time such as 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}

// attrText writes attributes as key=value, those of groups as group.key=value.
func attrText(data []byte) string {
	var attrs map[string]any
	if len(data) == 0 || json.Unmarshal(data, &attrs) != nil {
		return ""
	}
	var parts []string
	var visit func(prefix string, m map[string]any)
	visit = func(prefix string, m map[string]any) {
		for key, v := range m {
			if group, ok := v.(map[string]any); ok {
				visit(prefix+key+".", group)
				continue
			}
			text, ok := v.(string)
			if b, err := json.Marshal(v); !ok || strings.ContainsAny(text, " \"\n=") || text == "" {
				if err != nil {
					continue
				}
				text = string(b)
			}
			parts = append(parts, prefix+key+"="+text)
		}
	}
	visit("", attrs)
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
