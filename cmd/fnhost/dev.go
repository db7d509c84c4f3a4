package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger/codec"
)

// devFlags are the flags of dev.
type devFlags struct {
	cfg        host.Config
	durability string
	cache      string
	readyFile  string
	verbose    bool
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev [DIR...]",
		Short: "Watch folders, and run the functions in them",
		Long: `Watch folders, build the functions in them, and serve them over HTTP and NATS.
A function is live again the moment its source is saved; a build that fails keeps the version before.

A subdirectory that holds a handler is a function; so is the folder itself, and, at any depth, a directory
with a function.yaml. Nothing asks for a token here, so only addresses of this machine are listened on.`,
		Example: "  fnhost dev examples\n  fnhost dev . --http 127.0.0.1:0",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			f.cfg.Watch = args
			return a.dev(cmd.Context(), &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.cfg.HTTP, "http", "127.0.0.1:8080", "address of the gateway; port 0 picks one")
	flags.StringVar(&f.cfg.Admin, "admin", "127.0.0.1:8081", "address of the management API")
	flags.StringVar(&f.cfg.NATS, "nats", "127.0.0.1:4222", "address for NATS clients")
	flags.StringVar(&f.cfg.NATSURL, "nats-url", "", "use the NATS server at this URL instead of the embedded one")
	flags.StringVar(&f.cfg.Dir, "data", "", "data directory (default .fnhost beside the first folder)")
	flags.StringVar(&f.cfg.TLSCert, "tls-cert", "", "PEM file of the gateway's certificate")
	flags.StringVar(&f.cfg.TLSKey, "tls-key", "", "PEM file of its key")
	flags.DurationVar(&f.cfg.Drain, "drain", 30*time.Second, "how long invocations of a replaced version may run on")
	flags.StringVar(&f.durability, "durability", "process", "what stored data survives: process or power")
	flags.StringVar(&f.cache, "cache", "", "build cache (default fnhost in the user's cache directory)")
	flags.StringVar(&f.readyFile, "ready-file", "", "file to write the addresses to, as JSON, once they are served")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say more of what the host does")
	return cmd
}

// complete fills in what depends on other settings.
func (f *devFlags) complete(a *app) error {
	f.cfg.Durability = bus.Durability(f.durability)
	f.cfg.Builder = builder.Config{Cache: f.cache}
	if f.cfg.NATSURL != "" {
		f.cfg.NATS = ""
	}
	for flag, address := range map[string]string{"http": f.cfg.HTTP, "admin": f.cfg.Admin, "nats": f.cfg.NATS} {
		if address != "" && !isLoopback(address) {
			return usagef("--%s %s can be reached from other machines, and nothing asks for a token in dev: use 127.0.0.1", flag, address)
		}
	}
	if f.cfg.Dir == "" {
		abs, err := filepath.Abs(f.cfg.Watch[0])
		if err != nil {
			return err
		}
		f.cfg.Dir = filepath.Join(filepath.Dir(abs), ".fnhost")
		if err := os.MkdirAll(f.cfg.Dir, 0o700); err != nil {
			return fmt.Errorf("%w: name a data directory with --data", err)
		}
		if err := os.WriteFile(filepath.Join(f.cfg.Dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
			return err
		}
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	f.cfg.Logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	return nil
}

func isLoopback(address string) bool {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // the listener says what is wrong with it
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

func (a *app) dev(ctx context.Context, f *devFlags) error {
	if err := f.complete(a); err != nil {
		return err
	}
	p := newPrinter(a)
	defer p.close()
	f.cfg.OnEvent = p.event
	h, err := host.New(f.cfg)
	if err != nil {
		return err
	}
	if err := h.Listen(); err != nil {
		h.Close()
		return err
	}
	info := h.Info()
	p.banner(info)
	logCtx, stopLogs := context.WithCancel(ctx)
	defer stopLogs()
	go h.Logs().Read(logCtx, logs.Query{Follow: true, Tail: -1}, p.record)
	if f.readyFile != "" {
		b, err := codec.Marshal(info)
		if err == nil {
			err = os.WriteFile(f.readyFile, b, 0o644)
		}
		if err != nil {
			h.Close()
			return err
		}
	}
	return a.untilSignal(ctx, h, p)
}

// untilSignal runs the host until the first signal, which ends it gracefully;
// the second one does not wait.
func (a *app) untilSignal(ctx context.Context, h *host.Host, p *printer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-signals:
	}
	running := 0
	for _, f := range h.Functions() {
		running += f.Workers.Running
	}
	switch running {
	case 0:
		p.say("stopping")
	default:
		p.say(fmt.Sprintf("stopping: waiting for %d invocations; again to stop at once", running))
	}
	stop()
	select {
	case err := <-done:
		return err
	case <-signals:
		return errInterrupted
	}
}

// relative returns path as seen from the working directory, if that is shorter.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "../../..") || len(rel) > len(path) {
		return path
	}
	return rel
}
