package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/trigger/codec"
)

// hostFlags are the flags of commands that are a host.
type hostFlags struct {
	cfg        host.Config
	durability string
	walls      string
	logFormat  string
	readyFile  string
	verbose    bool
	proxies    []string
}

// devFlags are the flags of dev.
type devFlags struct {
	hostFlags
	allowExposed bool
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev [DIR...]",
		Short: "Watch folders, and run the functions in them",
		Long: `Watch folders, build the functions in them, and serve them over HTTP and NATS.
A function is live again the moment its source is saved; a build that fails keeps the version before.

A subdirectory that holds a handler is a function; so is the folder itself, and, at any depth, a directory
with a function.yaml. Workers reach no network unless it says network: outbound, and files only of their own, as far as the
machine can wall them in ('fnhost doctor'); --walls off leaves that out.
It asks nobody who they are, and so listens on addresses of this machine alone. With --auth it asks,
as serve does: with the root token that the first start prints, accounts, tokens and rules.

The first Ctrl+C lets running invocations end, the second one does not wait.`,
		Example:     "  fnhost dev functions\n  fnhost dev . --http 127.0.0.1:0",
		Annotations: map[string]string{ownSignals: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.cfg.Watch = args
			}
			if err := f.complete(); err != nil {
				return err
			}
			return a.runHost(cmd.Context(), &f.hostFlags)
		},
	}
	flags := cmd.Flags()
	f.register(flags)
	flags.StringVar(&f.cfg.Dir, "data", "", defaultDataHelp)
	flags.StringSliceVar(&f.cfg.Watch, "watch", []string{"."}, "folders to watch, if none are named as DIR")
	flags.BoolVar(&f.allowExposed, "allow-exposed", false, "listen on addresses that other machines reach, too; then it is asked who comes, as with --auth")
	flags.BoolVar(&f.cfg.Auth, "auth", false, "ask who comes, as serve does: with accounts, tokens and rules")
	loginFlags(flags, &f.cfg)
	completeChoices(cmd)
	return cmd
}

const defaultDataHelp = "data directory (default .fnhost in the working directory, or beside the first folder if that lies elsewhere)"

func completeChoices(cmd *cobra.Command) {
	cmd.RegisterFlagCompletionFunc("durability", cobra.FixedCompletions([]string{"process", "power"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("walls", cobra.FixedCompletions([]string{"auto", "strict", "off"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *hostFlags) register(flags *pflag.FlagSet) {
	placeFlags(flags, &f.cfg)
	flags.BoolVar(&f.cfg.Public, "public", false, "where it is asked who comes: let anybody call all functions over HTTP for which no rule says anything else")
	flags.StringVar(&f.cfg.NATSURL, "nats-url", "", "use the NATS server at this URL instead of the embedded one")
	flags.StringVar(&f.cfg.Domain, "domain", "", "host name of the gateway, whose subdomains are namespaces: acme.DOMAIN is that of acme")
	flags.StringVar(&f.cfg.TLSCert, "tls-cert", "", "PEM file of the certificate, for the gateway, and for the management API on an address that other machines reach")
	flags.StringVar(&f.cfg.TLSKey, "tls-key", "", "PEM file of its key")
	flags.StringSliceVar(&f.cfg.ACME.Domains, "acme-domain", nil, "domains to have certificates for from an ACME authority, instead of --tls-cert; it must reach the gateway on port 443 (you agree to its terms)")
	flags.StringVar(&f.cfg.ACME.Email, "acme-email", "", "address for its messages")
	flags.StringVar(&f.cfg.ACME.Directory, "acme-directory", "", "URL of the authority (default that of Let's Encrypt)")
	flags.StringVar(&f.cfg.ACME.HTTP, "acme-http", "", "address for its proofs over port 80, such as :80; all else there is redirected to https (default none)")
	flags.StringSliceVar(&f.proxies, "trusted-proxies", nil, "addresses and networks whose X-Forwarded-For says where a request comes from, for limits and the audit")
	flags.DurationVar(&f.cfg.Drain, "drain", 30*time.Second, "how long running invocations may go on, of a replaced version or when stopping")
	flags.StringVar(&f.durability, "durability", "process", "what stored data survives: process (its end), or power (the loss of it; slower)")
	flags.StringVar(&f.walls, "walls", string(wall.Auto), "around workers and builds: auto (what this machine can), strict (all, or no start), or off")
	storeFlags(flags, &f.cfg.MasterKeyFile, &f.cfg.MasterKeyCommand, &f.cfg.EncryptStore)
	flags.BoolVar(&f.cfg.PrivateCallbacks, "private-callbacks", false, "let results of asynchronous calls be sent to addresses of this machine and of the networks around it, too")
	flags.BoolVar(&f.cfg.PrivateIssuers, "private-issuers", false, "let the keys of other issuers of tokens be fetched from such addresses")
	flags.BoolVar(&f.cfg.PrivateGit, "private-git", false, "let git repositories at such addresses be deployed by their URL")
	flags.IntVar(&f.cfg.AuditDays, "audit-days", audit.DefaultDays, "for how many days it is kept who has changed what")
	flags.StringVar(&f.logFormat, "log-format", "text", "of what is shown: text or json, an object a line")
	flags.StringVar(&f.readyFile, "ready-file", "", "write the addresses to this file, as JSON, while they are served")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say more of what the host does")
}

// storeFlags adds the flags of what a store is encrypted with, which a restore has, too.
func storeFlags(flags *pflag.FlagSet, file *string, command *[]string, encrypt *bool) {
	flags.StringVar(file, "master-key-file", "", "file with the master key of secrets, which nobody else may read (default "+masterKeyVariable+", or else master.key in the data directory)")
	flags.StringSliceVar(command, "master-key-command", nil, "program that prints the master key, and its arguments, with commas between; there is no shell")
	flags.BoolVar(encrypt, "encrypt-store", false, "encrypt all that streams and buckets store; from the first start of a data directory on, or never")
}

// placeFlags adds the flags of hosts that doctor looks at, too.
func placeFlags(flags *pflag.FlagSet, cfg *host.Config) {
	flags.StringVar(&cfg.HTTP, "http", "127.0.0.1:8080", "address of the gateway; port 0 picks one")
	flags.StringVar(&cfg.Admin, "admin", "127.0.0.1:8081", "address of the management API")
	flags.StringVar(&cfg.NATS, "nats", "127.0.0.1:4222", "address for NATS clients")
	flags.StringVar(&cfg.Builder.Cache, "cache", "", "build cache (default fnhost in the user's cache directory)")
}

// complete checks the flags and fills in what depends on others.
func (f *devFlags) complete() error {
	if err := f.hostFlags.complete(); err != nil {
		return err
	}
	f.cfg.AdminPlain, f.cfg.Index = f.allowExposed, !f.allowExposed
	for flag, address := range map[string]string{"http": f.cfg.HTTP, "admin": f.cfg.Admin, "nats": f.cfg.NATS} {
		err := checkAddress(flag, address, f.allowExposed, "use 127.0.0.1, or --allow-exposed, which asks whoever does who they are")
		if err != nil {
			return err
		}
	}
	if f.cfg.Dir != "" {
		return nil
	}
	dir, err := defaultData(f.cfg.Watch[0])
	if err != nil {
		return fmt.Errorf("%w: name a data directory with --data", err)
	}
	f.cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w: name another one with --data", err)
	}
	return os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600)
}

// checkWatched makes the paths of the watched folders absolute: the management
// API tells them to clients elsewhere.
func (f *hostFlags) checkWatched() error {
	for i, dir := range f.cfg.Watch {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is a file: name its folder, %s", dir, filepath.Dir(dir))
		}
		if err != nil {
			return fmt.Errorf("no directory %s to watch: `fnhost init %s` makes a function there", dir, dir)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		f.cfg.Watch[i] = abs
	}
	return nil
}

// defaultData is the data directory of a host that watches folder: in the working
// directory, or beside a folder that lies elsewhere.
func defaultData(folder string) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	abs, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(wd, abs); err == nil && filepath.IsLocal(rel) {
		return filepath.Join(wd, ".fnhost"), nil
	}
	return filepath.Join(filepath.Dir(abs), ".fnhost"), nil
}

// runHost runs a host until a signal ends it.
func (a *app) runHost(ctx context.Context, f *hostFlags) error {
	if err := checkFree(ctx, &f.cfg); err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM) // also those that come while the host starts
	defer signal.Stop(signals)
	p := newPrinter(a, f)
	defer p.close()
	f.cfg.OnEvent, f.cfg.GitPush = p.event, true
	f.cfg.Logger = hostLogger(p, f.verbose)
	h, err := host.New(f.cfg)
	if errors.Is(err, host.ErrInUse) {
		return fmt.Errorf("%w with --data", err) // the other directory that it speaks of
	}
	if err != nil {
		return err
	}
	p.releasesOf(h)
	if err := h.Listen(); err != nil {
		h.Close()
		return err
	}
	info := h.Info()
	p.banner(info, functionNames(h), h.FreshToken())
	for _, dir := range f.cfg.Watch {
		if parts := partsOf(dir); len(parts) > 0 {
			p.say(hiddenText(relative(dir), parts))
		}
	}
	logCtx, stopLogs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLogs()
	go h.Logs().Read(logCtx, logs.Query{Follow: true}, p.record)
	if f.readyFile != "" {
		if err := writeReady(f.readyFile, info); err != nil {
			h.Close()
			return fmt.Errorf("ready file: %w", err)
		}
		defer os.Remove(f.readyFile)
	}
	return untilSignal(ctx, h, p, f.cfg.Drain, signals)
}

func functionNames(h *host.Host) []string {
	var names []string
	for _, f := range h.Functions() {
		if manifest.ValidName(f.Name) == nil { // else it is a directory that is left out
			names = append(names, f.Name)
		}
	}
	return names
}

// writeReady writes the addresses so that who waits for the file finds it whole.
func writeReady(file string, info admin.Info) error {
	b, err := codec.Marshal(info)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".ready-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// untilSignal runs the host until the first signal, which ends it gracefully;
// the second one does not wait.
func untilSignal(ctx context.Context, h *host.Host, p *printer, drain time.Duration, signals <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	daemon.SdNotify(false, daemon.SdNotifyReady) // does nothing but under systemd
	select {
	case err := <-done:
		return err
	case <-signals:
	}
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	p.stopping(waitsFor(h), drain)
	stop()
	select {
	case err := <-done:
		return err
	case <-signals:
		p.say("stopped at once")
		return errInterrupted
	}
}

// waitsFor lists the functions that run invocations, with how many.
func waitsFor(h *host.Host) []string {
	var list []string
	for _, f := range h.Functions() {
		if n := f.Workers.Running + f.Workers.Waiting; n > 0 {
			list = append(list, fmt.Sprintf("%s (%d)", f.Name, n))
		}
	}
	return list
}
