package admin

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fnhost/fnhost/functions/wire"
)

// guesses bounds how often a password can be guessed: by one address, and of one account,
// whoever guesses.
type guesses struct {
	mu sync.Mutex
	m  map[string]*rate.Limiter
}

const (
	guessEvery   = 10 * time.Second
	guessBurst   = 5
	guessAccount = 50 // of one account from all addresses: more, or anybody could lock her out
	maxGuessers  = 10_000
)

func guessKeys(r *http.Request, account string) (from, of string) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return host + " " + account, " " + account
}

// allow returns an error of code TooMany if there were too many wrong passwords.
func (g *guesses) allow(r *http.Request, account string) error {
	if len(account) > 100 {
		account = account[:100]
	}
	from, of := guessKeys(r, account)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m == nil || len(g.m) >= maxGuessers {
		g.m = make(map[string]*rate.Limiter)
	}
	for key, burst := range map[string]int{from: guessBurst, of: guessAccount} {
		l := g.m[key]
		if l == nil {
			l = rate.NewLimiter(rate.Every(guessEvery), burst)
			g.m[key] = l
		}
		if !l.Allow() {
			return wire.Errorf(wire.TooMany, "too many wrong passwords: wait for %v", guessEvery)
		}
	}
	return nil
}

// right forgets the guesses of who knew it.
func (g *guesses) right(r *http.Request, account string) {
	from, of := guessKeys(r, account)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.m, from)
	delete(g.m, of)
}
