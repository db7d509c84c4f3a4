package bus

import (
	"crypto/subtle"

	"github.com/nats-io/nats-server/v2/server"
)

// authenticator decides which account a connection is in. The host itself names
// the account and gives the secret of this run; anybody else who reaches the
// address is in the default namespace, until there are identities.
type authenticator struct {
	secret   string
	accounts *accounts
}

func (a *authenticator) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	account := a.accounts.get(opts.Username)
	if account == nil || subtle.ConstantTimeCompare([]byte(opts.Password), []byte(a.secret)) != 1 {
		account = a.accounts.get(DefaultAccount)
	}
	c.RegisterUser(&server.User{Username: opts.Username, Account: account})
	return true
}
