package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/trigger/limit"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	hostFlags
	adminPlain bool
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve --data DIR", Short: "Run the functions that are deployed here",
		Long: `Run the functions that are deployed to this host, and let more be deployed. What is released is live again after a
restart, however the host ended, without a build.

It asks who comes at every way in: at the gateway, the management API, for git and for NATS. The first start prints the root
token, which may do everything, and is kept as a hash alone; accounts, tokens and rules say what others may do ("fnhost
account", "token" and "rule"). A function lets anybody call it over HTTP with public: true in its function.yaml, or those of some
scopes; with --public whatever no rule forbids may be called over HTTP by anybody. On an address that other machines reach the
management API wants TLS, too.

Workers are behind walls, as far as the machine can build them ('fnhost doctor' says what it can): they reach no file of the
machine, no other process, and, without network: outbound in a function.yaml, no network. --walls strict wants all of it.

The first SIGTERM lets running invocations end, the second one does not wait. Under systemd the service is ready when
the addresses are served (Type=notify).`,
		Example:     "  fnhost serve --data /var/lib/fnhost --http :8080\n  fnhost serve --data /var/lib/fnhost --http :443 --admin :8081 --tls-cert cert.pem --tls-key key.pem\n  fnhost serve --data /var/lib/fnhost --http :443 --acme-domain fn.example.com",
		Args:        between(0, 0, ""),
		Annotations: map[string]string{ownSignals: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.complete(); err != nil {
				return err
			}
			return a.runHost(cmd.Context(), &f.hostFlags)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&f.cfg.Dir, "data", "", "data directory")
	cmd.Flags().StringSliceVar(&f.cfg.Watch, "watch", nil, "folders whose functions are built and served, too, when they are saved")
	cmd.Flags().BoolVar(&f.adminPlain, "admin-plain", false, "let other machines reach the management API and NATS without TLS: on the way, all can be read, tokens too")
	loginFlags(cmd.Flags(), &f.cfg)
	completeChoices(cmd)
	return cmd
}

// loginFlags adds the flags of hosts that ask who comes.
func loginFlags(flags *pflag.FlagSet, cfg *host.Config) {
	flags.DurationVar(&cfg.AccessTTL, "access-ttl", auth.DefaultAccessTTL, "where it is asked who comes: how long the access token of a login is good; commands renew it by themselves")
	flags.DurationVar(&cfg.RefreshTTL, "refresh-ttl", auth.DefaultRefreshTTL, "after how long a login ends that is not used")
}

// complete checks the flags and fills in what depends on others.
func (f *serveFlags) complete() error {
	if f.cfg.Dir == "" {
		return usagef("--data is missing: name the directory where all is kept that must survive, such as /var/lib/fnhost")
	}
	f.cfg.Auth, f.cfg.AdminPlain = true, f.adminPlain
	if err := f.hostFlags.complete(); err != nil {
		return err
	}
	secure := f.adminPlain || f.cfg.TLSCert != "" || len(f.cfg.ACME.Domains) > 0
	const but = "it wants --tls-cert and --tls-key, --acme-domain, or --admin-plain"
	for _, l := range []struct {
		flag, address string
		exposed       bool
		but           string
	}{
		{"http", f.cfg.HTTP, true, ""},
		{"admin", f.cfg.Admin, secure, but},
		{"nats", f.cfg.NATS, secure, but},
	} {
		if err := checkAddress(l.flag, l.address, l.exposed, l.but); err != nil {
			return err
		}
	}
	return nil
}

// checkAddress refuses an address that is none, and one that other machines reach
// unless that is meant; but says what is to be done about it.
func checkAddress(flag, address string, exposed bool, but string) error {
	if address == "" {
		return nil
	}
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--%s %q is no address: want HOST:PORT, such as 127.0.0.1:0", flag, address)
	}
	if !exposed && !isLoopback(name) {
		return usagef("--%s %s is reached by other machines: %s", flag, address, but)
	}
	return nil
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// complete checks the flags that all hosts have.
func (f *hostFlags) complete() error {
	f.cfg.Durability = bus.Durability(f.durability)
	if f.durability != string(bus.Process) && f.durability != string(bus.Power) {
		return usagef("--durability %s: want process or power", f.durability)
	}
	f.cfg.Walls = wall.Mode(f.walls)
	if f.cfg.Walls != wall.Auto && f.cfg.Walls != wall.Strict && f.cfg.Walls != wall.Off {
		return usagef("--walls %s: want auto, strict or off", f.walls)
	}
	if f.logFormat != "text" && f.logFormat != "json" {
		return usagef("--log-format %s: want text or json", f.logFormat)
	}
	if (f.cfg.TLSCert == "") != (f.cfg.TLSKey == "") {
		return usagef("--tls-cert and --tls-key go together")
	}
	if f.cfg.TLSCert != "" && len(f.cfg.ACME.Domains) > 0 {
		return usagef("--tls-cert and --acme-domain: choose one")
	}
	if a := &f.cfg.ACME; len(a.Domains) == 0 && (a.Email != "" || a.Directory != "" || a.HTTP != "") {
		return usagef("--acme-domain is missing: name a domain that leads to this host")
	}
	if f.cfg.NATSURL != "" {
		f.cfg.NATS = ""
	}
	var bad string
	if f.cfg.TrustedProxies, bad = limit.ParseProxies(f.proxies); bad != "" {
		return usagef("--trusted-proxies %q: want an address, or a network such as 10.0.0.0/8", bad)
	}
	var err error
	if f.cfg.MasterKey, err = takeMasterKey(f.cfg.MasterKeyFile, f.cfg.MasterKeyCommand); err != nil {
		return err
	}
	return f.checkWatched()
}

// token shows the root token, which nothing shows again, and what to do with it.
func (p *printer) token(token, admin string) {
	if p.json != nil {
		p.json.Info("root token, which may do everything: shown once, keep it", "token", token)
		return
	}
	fmt.Fprintf(p.w, "root token, shown this once: %s\n", p.p.paint(bold, token))
	for _, line := range []string{
		"  it may do everything: make an account with it, and keep it for the day that nobody can log in",
		"  `fnhost server add NAME " + admin + "` asks for it",
		"  `fnhost account create ada --scope admin` makes an account, and `fnhost login` logs in",
	} {
		fmt.Fprintln(p.w, p.p.paint(dim, line))
	}
	fmt.Fprintln(p.w)
}
