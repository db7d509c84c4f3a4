package host

import (
	"context"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

// hostBackend is the default namespace as the management API sees it, with what is of the
// whole host: the other namespaces.
type hostBackend struct{ backend }

// Space implements [admin.Spaces].
func (b hostBackend) Space(name string) (admin.Backend, error) {
	ns, err := b.host.Namespace(name)
	if err != nil {
		return nil, err
	}
	if ns == b.h {
		return b, nil
	}
	return backend{invoker{ns}, b.host}, nil
}

// Namespaces implements [admin.Spaces].
func (b hostBackend) Namespaces() []admin.Namespace { return b.host.Namespaces() }

// CreateNamespace implements [admin.Spaces].
func (b hostBackend) CreateNamespace(ctx context.Context, n admin.NewNamespace) (admin.Namespace, error) {
	if _, err := b.host.CreateNamespace(ctx, n.Name, n.Limits); err != nil {
		return admin.Namespace{}, err
	}
	return b.namespace(n.Name)
}

// RemoveNamespace implements [admin.Spaces].
func (b hostBackend) RemoveNamespace(ctx context.Context, name string, force bool) error {
	return b.host.RemoveNamespace(ctx, name, force)
}

// LimitNamespace implements [admin.Spaces].
func (b hostBackend) LimitNamespace(ctx context.Context, name string, l admin.NamespaceLimits) (admin.Namespace, error) {
	if err := b.host.SetLimits(ctx, name, l); err != nil {
		return admin.Namespace{}, err
	}
	return b.namespace(name)
}

// Exports implements [admin.Spaces].
func (b hostBackend) Exports() []admin.Export { return b.host.Exports() }

// Export implements [admin.Spaces].
func (b hostBackend) Export(ctx context.Context, e admin.Export) error {
	return b.host.Export(ctx, e)
}

// Unexport implements [admin.Spaces].
func (b hostBackend) Unexport(ctx context.Context, e admin.Export) error {
	return b.host.Unexport(ctx, e)
}

func (b hostBackend) namespace(name string) (admin.Namespace, error) {
	for _, n := range b.host.Namespaces() {
		if n.Name == name {
			return n, nil
		}
	}
	return admin.Namespace{}, b.host.spaces.missing(name)
}

// ofTheHost returns an error for what only the host as a whole can be asked for.
func (b backend) ofTheHost(what string) error {
	if b.h == b.h.first {
		return nil
	}
	return wire.Errorf(wire.BadRequest, "%s is of the host as a whole, not of the namespace %q: ask without naming one", what, b.h.name)
}
