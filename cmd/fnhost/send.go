package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) sendCommand() *cobra.Command {
	var data, id string
	var headers []string
	cmd := &cobra.Command{
		Use: "send SUBJECT", Short: "Send a message, such as an event",
		Long: `Send a message on a subject. If a stream takes the subject, as where a function's event trigger names it, the message is
stored when the command ends, and its place is printed. Otherwise it reaches those who listen at that moment.`,
		Example: "  fnhost send orders.created -d '{\"id\":7}'\n  fnhost send uploads.picture -d @picture.png --id upload-1",
		Args:    between(1, 1, "SUBJECT"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		header := make(map[string][]string)
		for _, h := range headers {
			key, value, ok := strings.Cut(h, ":")
			if !ok {
				return usagef("-H %q: want NAME: VALUE", h)
			}
			header[strings.TrimSpace(key)] = append(header[strings.TrimSpace(key)], strings.TrimSpace(value))
		}
		if id != "" {
			header["Nats-Msg-Id"] = []string{id}
		}
		body, err := a.message(data)
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		s, err := c.Publish(cmd.Context(), args[0], header, body)
		if err != nil {
			return err
		}
		return a.printStored(s)
	}
	flags := cmd.Flags()
	flags.StringVarP(&data, "data", "d", "", "what to send: text, @FILE, or @- for standard input")
	flags.StringVar(&id, "id", "", "id of the message: a stream takes one of an id once")
	flags.StringArrayVarP(&headers, "header", "H", nil, "header of the message, as NAME: VALUE; repeatable")
	onlyFlags(flags, "data", "id", "header")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// message reads what -d names.
func (a *app) message(data string) (io.Reader, error) {
	switch file, ok := strings.CutPrefix(data, "@"); {
	case data == "@-":
		return a.stdin, nil
	case ok:
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("-d %s: %w", data, err)
		}
		return bytes.NewReader(b), nil
	}
	return strings.NewReader(data), nil
}

func (a *app) printStored(s admin.Receipt) error {
	if a.output == "json" {
		return a.printJSON(s)
	}
	text := fmt.Sprintf("stored in %s as %d", s.Stream, s.Sequence)
	switch {
	case s.Stream == "":
		text = "sent to who listens; no stream takes this subject"
	case s.Duplicate:
		text += " before"
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}
