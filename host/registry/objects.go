package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// objectTimeout bounds the transfer of a program or a bundle.
const objectTimeout = 5 * time.Minute

// putFile stores a file under the SHA-256 of its content, if it is not there.
func (r *Registry) putFile(ctx context.Context, store jetstream.ObjectStore, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, objectTimeout)
	defer cancel()
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if info, err := r.whole(ctx, store, sum); err == nil && info.Size == uint64(size) {
		return sum, nil
	} else if err != nil && !errors.Is(err, ErrDamaged) {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	_, err = store.Put(ctx, jetstream.ObjectMeta{Name: sum}, f)
	return sum, err
}

// Program writes the program of a version to path, whole or not at all, as a file
// that can be run. The error wraps [ErrDamaged] if it is not what was stored.
func (r *Registry) Program(ctx context.Context, v *Version, path string) error {
	return r.getFile(ctx, r.artifacts, v.Program, path, 0o755)
}

// Bundle writes the bundle of a version's source to path, as Program does.
func (r *Registry) Bundle(ctx context.Context, v *Version, path string) error {
	return r.getFile(ctx, r.sources, v.Source.Bundle, path, 0o644)
}

func (r *Registry) getFile(ctx context.Context, store jetstream.ObjectStore, sum, path string, mode os.FileMode) error {
	ctx, cancel := context.WithTimeout(ctx, objectTimeout)
	defer cancel()
	if _, err := r.whole(ctx, store, sum); err != nil {
		return err
	}
	object, err := store.Get(ctx, sum)
	if err != nil {
		return fmt.Errorf("registry: object %s: %w", sum, err)
	}
	defer object.Close()
	tmp, err := os.CreateTemp(filepath.Dir(path), ".fetch-*")
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	defer os.Remove(tmp.Name())
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(tmp, h), object)
	if errors.Is(err, jetstream.ErrDigestMismatch) || err == nil && hex.EncodeToString(h.Sum(nil)) != sum {
		tmp.Close()
		return fmt.Errorf("%w: the object %s: its content is another one", ErrDamaged, sum)
	}
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("registry: object %s: %w", sum, err)
	}
	return nil
}

// whole returns what there is to know of an object all of whose parts are there.
// The error wraps [ErrDamaged] if some are not: who reads such an object waits for
// them.
func (r *Registry) whole(ctx context.Context, store jetstream.ObjectStore, sum string) (*jetstream.ObjectInfo, error) {
	info, err := store.GetInfo(ctx, sum)
	if errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrBadObjectMeta) {
		return nil, fmt.Errorf("%w: the object %s: %v", ErrDamaged, sum, err)
	}
	if err != nil {
		return nil, fmt.Errorf("registry: object %s: %w", sum, err)
	}
	if digest, err := jetstream.DecodeObjectDigest(info.Digest); err != nil || hex.EncodeToString(digest) != sum {
		return nil, fmt.Errorf("%w: the object %s: its content is another one", ErrDamaged, sum)
	}
	stream, err := r.js.Stream(ctx, "OBJ_"+info.Bucket)
	if err != nil {
		return nil, fmt.Errorf("registry: object %s: %w", sum, err)
	}
	subject := "$O." + info.Bucket + ".C." + info.NUID
	s, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, fmt.Errorf("registry: object %s: %w", sum, err)
	}
	if n := s.State.Subjects[subject]; n != uint64(info.Chunks) {
		return nil, fmt.Errorf("%w: the object %s: %d of its %d parts are there", ErrDamaged, sum, n, info.Chunks)
	}
	return info, nil
}

// Hold has nothing collected until release is called. It waits for a Collect in progress.
func (r *Registry) Hold() (release func()) {
	r.holding.RLock()
	return r.holding.RUnlock
}

// Collect removes programs and bundles that no version names, and what transfers
// that were broken off have left. It returns how many bytes became free. While somebody
// holds them it does nothing: the next one finds them.
func (r *Registry) Collect(ctx context.Context) (freed int64, err error) {
	if !r.holding.TryLock() {
		return 0, nil
	}
	defer r.holding.Unlock()
	r.storing.Lock()
	defer r.storing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, objectTimeout)
	defer cancel()
	used := make(map[string]bool)
	keys, err := r.keys(ctx, "version.>") // of all namespaces: they share the stores
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		ns, rest, _ := strings.Cut(strings.TrimPrefix(key, "version."), ".")
		name, number, _ := strings.Cut(rest, ".")
		n, err := ParseVersion(number)
		if err != nil {
			continue
		}
		v, err := r.Namespace(ns).Version(ctx, name, n)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err // what it names is not known, and must not go
		}
		used[v.Program], used[v.Source.Bundle] = true, true
	}
	for _, store := range []jetstream.ObjectStore{r.artifacts, r.sources} {
		n, err := r.collectStore(ctx, store, used)
		freed += n
		if err != nil {
			return freed, err
		}
	}
	return freed, nil
}

func (r *Registry) collectStore(ctx context.Context, store jetstream.ObjectStore, used map[string]bool) (freed int64, err error) {
	list, err := store.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return 0, fmt.Errorf("registry: %w", err)
	}
	whole := make(map[string]bool)
	for _, o := range list {
		if used[o.Name] {
			whole[o.NUID] = true
			continue
		}
		if err := store.Delete(ctx, o.Name); err != nil {
			return freed, fmt.Errorf("registry: remove object %s: %w", o.Name, err)
		}
		freed += int64(o.Size)
	}
	status, err := store.Status(ctx)
	if err != nil {
		return freed, fmt.Errorf("registry: %w", err)
	}
	stream, err := r.js.Stream(ctx, "OBJ_"+status.Bucket())
	if err != nil {
		return freed, fmt.Errorf("registry: %w", err)
	}
	prefix := "$O." + status.Bucket() + ".C."
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return freed, fmt.Errorf("registry: %w", err)
	}
	for subject := range info.State.Subjects {
		if whole[strings.TrimPrefix(subject, prefix)] {
			continue
		}
		if m, err := stream.GetLastMsgForSubject(ctx, subject); err != nil || time.Since(m.Time) < r.orphanAge {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return freed, fmt.Errorf("registry: %w", err)
		}
	}
	return freed, nil
}

// Usage is how much the registry stores, in bytes.
type Usage struct {
	Artifacts uint64 `json:"artifacts"`
	Sources   uint64 `json:"sources"`
	Records   uint64 `json:"records"`
}

// Usage returns how much is stored.
func (r *Registry) Usage(ctx context.Context) (u Usage, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for name, n := range map[string]*uint64{"OBJ_" + artifactsName: &u.Artifacts, "OBJ_" + sourcesName: &u.Sources, "KV_" + bucketName: &u.Records} {
		stream, err := r.js.Stream(ctx, name)
		if err != nil {
			return u, fmt.Errorf("registry: %w", err)
		}
		*n = stream.CachedInfo().State.Bytes
	}
	return u, nil
}
