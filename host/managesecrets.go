package host

import (
	"context"

	"github.com/fnhost/fnhost/host/admin"
)

// Secrets implements [admin.SecretKeeper].
func (b backend) Secrets() ([]admin.Secret, error) { return secretsOf(b.h.Secrets()) }

// SecretVersions implements [admin.SecretKeeper].
func (b backend) SecretVersions(name string) ([]admin.Secret, error) {
	return secretsOf(b.h.SecretVersions(name))
}

func secretsOf(from []Secret, err error) ([]admin.Secret, error) {
	list := []admin.Secret{}
	for _, info := range from {
		list = append(list, admin.Secret(info))
	}
	return list, err
}

// SetSecret implements [admin.SecretKeeper].
func (b backend) SetSecret(ctx context.Context, name string, value []byte, by string) (admin.Secret, error) {
	info, err := b.h.SetSecret(ctx, name, value, by)
	return admin.Secret(info), err
}

// RemoveSecret implements [admin.SecretKeeper].
func (b backend) RemoveSecret(ctx context.Context, name string) error {
	return b.h.RemoveSecret(ctx, name)
}

// RotateMasterKey implements [admin.SecretKeeper].
func (b backend) RotateMasterKey(ctx context.Context) (admin.KeyRotation, error) {
	if err := b.ofTheHost("the master key"); err != nil {
		return admin.KeyRotation{}, err
	}
	done, err := b.host.RotateMasterKey(ctx)
	return admin.KeyRotation(done), err
}
