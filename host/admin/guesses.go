package admin

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger/limit"
)

// guesses bounds how often a password can be guessed: of one account by one address, and
// of one account by all addresses together. The second bound is wider, since it lets
// anybody hold up who owns the account. What one address guesses of all accounts together is
// bounded, too: a guess of many accounts would have the guesses of one forgotten.
type guesses struct {
	proxies                         []netip.Prefix // whose word counts for where a guess comes from
	byAddress, ofAccount, ofAddress *limit.Keyed
}

func newGuesses(proxies []netip.Prefix) *guesses {
	return &guesses{
		proxies:   proxies,
		byAddress: limit.NewKeyed(limit.Limit{Events: 6, Per: time.Minute, Burst: 5}, 10_000),
		ofAccount: limit.NewKeyed(limit.Limit{Events: 6, Per: time.Minute, Burst: 50}, 10_000),
		ofAddress: limit.NewKeyed(limit.Limit{Events: 60, Per: time.Minute, Burst: 100}, 10_000),
	}
}

func (g *guesses) address(r *http.Request) string {
	return limit.AddrKey(limit.ClientAddr(r, g.proxies))
}

func (g *guesses) keys(r *http.Request, account string) (byAddress, ofAccount string) {
	if len(account) > 100 { // none has such a name
		account = account[:100]
	}
	return g.address(r) + " " + account, account
}

// allow returns an error of code TooMany if there were too many wrong passwords.
func (g *guesses) allow(r *http.Request, account string) error {
	byAddress, ofAccount := g.keys(r, account)
	for _, take := range []func() limit.Decision{ // who is over one bound takes up no room in the next
		func() limit.Decision { return g.ofAddress.Take(g.address(r)) },
		func() limit.Decision { return g.byAddress.Take(byAddress) },
		func() limit.Decision { return g.ofAccount.Take(ofAccount) },
	} {
		if d := take(); !d.OK {
			return wire.Errorf(wire.TooMany, "too many wrong passwords: try again in %v", max(d.Retry, time.Second).Round(time.Second))
		}
	}
	return nil
}

// right forgets the guesses of who knew it.
func (g *guesses) right(r *http.Request, account string) {
	byAddress, ofAccount := g.keys(r, account)
	g.byAddress.Forget(byAddress)
	g.ofAccount.Forget(ofAccount)
}
