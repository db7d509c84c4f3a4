package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/kv"
)

// RemoveNamespace removes the accounts of a namespace, the tokens that are good for it alone, its
// rules and its issuers: whoever makes one of the name again must not find them. It can be
// broken off and begun anew.
func (a *Authority) RemoveNamespace(ctx context.Context, namespace string) error {
	if a.bucket == nil || namespace == Everywhere || namespace == "" {
		return nil
	}
	var accounts, keys []string
	a.mu.RLock()
	for name, acc := range a.state.accounts {
		if acc.Namespace == namespace {
			accounts = append(accounts, name)
		}
	}
	for id, t := range a.state.tokens {
		if t.Namespace == namespace {
			keys = append(keys, tokenKind+"."+id)
		}
	}
	for id, r := range a.state.rules {
		if r.Namespace == namespace {
			keys = append(keys, ruleKind+"."+id)
		}
	}
	for name, i := range a.state.issuers {
		if i.Namespace == namespace {
			keys = append(keys, issuerKind+"."+name)
		}
	}
	a.mu.RUnlock()
	for _, key := range keys {
		if err := kv.Retry(ctx, func() error { return a.remove(ctx, key) }); err != nil && !errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("auth: namespace %s: %w", namespace, err)
		}
	}
	for _, name := range accounts {
		if err := a.dropAccount(ctx, name); err != nil && !errors.Is(err, errNotFound) {
			return fmt.Errorf("auth: namespace %s: account %s: %w", namespace, name, err)
		}
	}
	return nil
}
