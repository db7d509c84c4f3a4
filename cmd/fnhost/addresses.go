package main

import "net"

// checkAddresses refuses addresses that are none, and those that other machines
// reach: nothing asks for a token yet.
func (f *devFlags) checkAddresses() error {
	for _, l := range []struct{ flag, address string }{{"http", f.cfg.HTTP}, {"admin", f.cfg.Admin}, {"nats", f.cfg.NATS}} {
		if l.address == "" {
			continue
		}
		name, _, err := net.SplitHostPort(l.address)
		if err != nil {
			return usagef("--%s %q is no address: want HOST:PORT, such as 127.0.0.1:0", l.flag, l.address)
		}
		if !f.allowExposed && !isLoopback(name) {
			return usagef("--%s %s is reached by other machines, and nothing asks for a token in dev: use 127.0.0.1, or accept that with --allow-exposed",
				l.flag, l.address)
		}
	}
	return nil
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
