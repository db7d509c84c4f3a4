package admin

import (
	"net/http"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger/limit"
)

// guesses bounds how often a password can be guessed: of one account by one address, and
// of one account by all addresses together. The second bound is wider, since it lets
// anybody hold up who owns the account. What one address guesses of all accounts together is
// bounded, too: a guess of many accounts would have the guesses of one forgotten.
type guesses struct {
	byAddress, ofAccount, ofAddress *limit.Keyed
}

func newGuesses() *guesses {
	return &guesses{
		byAddress: limit.NewKeyed(limit.Limit{Events: 6, Per: time.Minute, Burst: 5}, 10_000),
		ofAccount: limit.NewKeyed(limit.Limit{Events: 6, Per: time.Minute, Burst: 50}, 10_000),
		ofAddress: limit.NewKeyed(limit.Limit{Events: 60, Per: time.Minute, Burst: 100}, 10_000),
	}
}

func guessKeys(r *http.Request, account string) (byAddress, ofAccount string) {
	if len(account) > 100 { // none has such a name
		account = account[:100]
	}
	return limit.AddrKey(limit.ClientAddr(r, nil)) + " " + account, account
}

// allow returns an error of code TooMany if there were too many wrong passwords.
func (g *guesses) allow(r *http.Request, account string) error {
	byAddress, ofAccount := guessKeys(r, account)
	for _, take := range []func() limit.Decision{ // who is over one bound takes up no room in the next
		func() limit.Decision { return g.ofAddress.Take(limit.AddrKey(limit.ClientAddr(r, nil))) },
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
	byAddress, ofAccount := guessKeys(r, account)
	g.byAddress.Forget(byAddress)
	g.ofAccount.Forget(ofAccount)
}
