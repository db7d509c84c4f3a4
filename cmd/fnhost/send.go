package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/host/admin"
)

// sending is what the flags of send say of a message.
type sending struct {
	data, id          string
	headers           []string
	delay, ttl        time.Duration
	at                string
	expect            uint64
	eventType, source string
}

func (a *app) sendCommand() *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use: "send SUBJECT", Short: "Send a message, such as an event",
		Long: `Send a message on a subject. If a stream takes the subject, as where a function's event trigger names it, the message is
stored when the command ends, and its place is printed. Otherwise it reaches those who listen at that moment.

With --delay or --at it is stored at once, and sent when it is time, at most 30 days ahead. With --type it is a CloudEvent
(binary mode), whose further attributes are headers, such as -H ce-subject:7.`,
		Example: "  fnhost send orders.created -d '{\"id\":7}'\n  fnhost send uploads.picture -d @picture.png --id upload-1\n" +
			"  fnhost send orders.remind -d 7 --delay 10m\n  fnhost send orders.created -d '{\"id\":7}' --type com.example.order.created",
		Args: between(1, 1, "SUBJECT"), ValidArgsFunction: a.completeSubjects,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := a.message(cmd, s.data)
		if err != nil {
			return err
		}
		header, err := s.header(cmd.Flags(), &body)
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		receipt, err := c.Publish(cmd.Context(), args[0], header, body)
		if err != nil {
			return badRequest(err)
		}
		if receipt.Stream == "" && (s.id != "" || s.ttl > 0) && !a.quiet {
			fmt.Fprintf(a.stderr, "no stream takes %s: --id and --ttl say nothing to those who listen\n", args[0])
		}
		return a.printStored(receipt, strings.TrimPrefix(strings.Join(header["Nats-Schedule"], ""), "@at "))
	}
	flags := cmd.Flags()
	flags.StringVarP(&s.data, "data", "d", "", "what to send: text, @FILE, or @- for standard input (default what is piped into that)")
	flags.StringVar(&s.id, "id", "", "id of the message: a stream takes one of an id once")
	flags.StringArrayVarP(&s.headers, "header", "H", nil, "header of the message, as NAME: VALUE; repeatable")
	flags.DurationVar(&s.delay, "delay", 0, "send it after that time, such as 10m")
	flags.StringVar(&s.at, "at", "", "send it at that time, such as 2026-01-02T15:04:05Z")
	flags.DurationVar(&s.ttl, "ttl", 0, "have the stream forget it after that time, in whole seconds")
	flags.Uint64Var(&s.expect, "expect", 0, "store it only if the latest message on the subject has that sequence; 0: if there is none")
	flags.StringVar(&s.eventType, "type", "", "make it a CloudEvent of that type")
	flags.StringVar(&s.source, "source", "", "source of the CloudEvent (default /fnhost/send)")
	onlyFlags(flags, "data", "id", "header", "delay", "at", "ttl", "expect", "type", "source")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// header returns the headers that the flags ask for. It may read the body.
func (s *sending) header(flags *pflag.FlagSet, body *io.Reader) (map[string][]string, error) {
	header := make(map[string][]string)
	for _, h := range s.headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, usagef("-H %q: want NAME: VALUE", h)
		}
		key = http.CanonicalHeaderKey(strings.TrimSpace(key))
		header[key] = append(header[key], strings.TrimSpace(value))
	}
	set := func(key, value string) { header[key] = []string{value} }
	if s.id != "" {
		set("Nats-Msg-Id", s.id)
	}
	switch {
	case flags.Changed("delay") && s.at != "":
		return nil, usagef("--delay and --at: want one of the two")
	case flags.Changed("delay") && s.delay < 0:
		return nil, usagef("--delay %v: want a time to come, such as 10m", s.delay)
	case flags.Changed("delay"):
		set("Nats-Schedule", "@at "+time.Now().Add(s.delay).UTC().Format(time.RFC3339Nano))
	case s.at != "":
		at, err := time.Parse(time.RFC3339, s.at)
		if err != nil {
			return nil, usagef("--at %q: want a time such as 2026-01-02T15:04:05Z", s.at)
		}
		set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	}
	if flags.Changed("ttl") {
		if s.ttl < time.Second || s.ttl%time.Second != 0 {
			return nil, usagef("--ttl %v: want whole seconds, at least 1s", s.ttl)
		}
		set("Nats-Ttl", s.ttl.String())
	}
	if flags.Changed("expect") {
		set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(s.expect, 10))
	}
	switch {
	case s.eventType != "":
		return header, s.cloudEvent(header, body)
	case s.source != "" || flags.Changed("type"):
		return nil, usagef("--source is that of a CloudEvent: name its type with --type")
	}
	return header, nil
}

// cloudEvent adds the attributes that are not among the headers.
func (s *sending) cloudEvent(header map[string][]string, body *io.Reader) error {
	data, err := io.ReadAll(*body)
	if err != nil {
		return usagef("-d %s: %w", s.data, err)
	}
	*body = bytes.NewReader(data)
	contentType := "application/octet-stream"
	switch {
	case json.Valid(data):
		contentType = "application/json"
	case utf8.Valid(data):
		contentType = "text/plain; charset=utf-8"
	}
	id := cmp.Or(s.id, strings.Join(header["Ce-Id"], ""), rand.Text())
	for key, value := range map[string]string{
		"Content-Type": contentType, "Nats-Msg-Id": id, "Ce-Id": id, "Ce-Specversion": "1.0", "Ce-Source": "/fnhost/send", "Ce-Time": time.Now().UTC().Format(time.RFC3339Nano),
	} {
		if header[key] == nil {
			header[key] = []string{value}
		}
	}
	header["Ce-Type"] = []string{s.eventType}
	if s.source != "" {
		header["Ce-Source"] = []string{s.source}
	}
	return nil
}

// completeSubjects offers the subjects that start something.
func (a *app) completeSubjects(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 || a.settings.apply(cmd) != nil {
		return nil, directive
	}
	c, err := a.client()
	if err != nil {
		return nil, directive
	}
	list, err := c.Triggers(cmd.Context())
	if err != nil {
		return nil, directive
	}
	var subjects []string
	for _, t := range list {
		fixed, _, _ := strings.Cut(t.Subject, "*")
		fixed, _, _ = strings.Cut(fixed, ">")
		if !strings.HasPrefix(fixed, "tick.") {
			subjects = append(subjects, fixed+"\t"+t.Subject+" starts "+t.Function)
		}
	}
	return subjects, directive
}

// message reads what -d names, or without it what is piped into standard input.
func (a *app) message(cmd *cobra.Command, data string) (io.Reader, error) {
	switch file, ok := strings.CutPrefix(data, "@"); {
	case !cmd.Flags().Changed("data"):
		b, err := a.piped(cmd.Context())
		return bytes.NewReader(b), err
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

// sent is what became of a message, for programs.
type sent struct {
	Stored bool `json:"stored"`
	admin.Receipt
	Due string `json:"due,omitempty"` // when it is sent, if that is later
}

// printStored says where a message is; at is when it is sent, "" for now.
func (a *app) printStored(s admin.Receipt, at string) error {
	if s.Stream != "later" || s.Duplicate {
		at = ""
	}
	if a.output == "json" {
		return a.printJSON(sent{s.Stream != "", s, at})
	}
	text := fmt.Sprintf("stored in %s as %d", s.Stream, s.Sequence)
	switch {
	case s.Stream == "":
		text = "sent to who listens; no stream takes this subject"
	case s.Duplicate:
		text += " before"
	case at != "":
		text += ", and is sent at " + at
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}
