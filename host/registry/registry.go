package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Keep is how many versions of a function are kept, beside those released.
const Keep = 10

var (
	// ErrNotFound is wrapped by the errors for functions and versions that are not there.
	ErrNotFound = errors.New("not in the registry")
	// ErrDamaged is wrapped by the errors for records, programs and sources that
	// are not what was stored. Nothing is removed because of it.
	ErrDamaged = errors.New("registry: damaged")
)

// Names in JetStream.
const (
	bucketName    = "registry"
	artifactsName = "artifacts"
	sourcesName   = "sources"
)

// timeout bounds one operation, beside a context that ends sooner.
const timeout = 30 * time.Second

// Registry is that of one namespace. Its methods are safe for concurrent use.
type Registry struct {
	ns string
	*store
}

// store is what the registries of all namespaces share.
type store struct {
	js        jetstream.JetStream
	kv        jetstream.KeyValue
	artifacts jetstream.ObjectStore
	sources   jetstream.ObjectStore

	orphanAge time.Duration // how old parts of an object must be that nothing names, before they are taken for those of a broken-off transfer

	storing   sync.RWMutex // held for reading while objects are stored that no record names yet
	releasing sync.RWMutex // held for reading while versions are released that were seen to be there
	holding   sync.RWMutex // held for reading while nothing may be collected, for writing by who collects
}

// Open opens the registry of a namespace, and makes it if need be.
func Open(ctx context.Context, conn *nats.Conn, namespace string) (*Registry, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{namespace, &store{js: js, orphanAge: time.Hour}}
	if r.kv, err = js.KeyValue(ctx, bucketName); errors.Is(err, jetstream.ErrBucketNotFound) {
		r.kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucketName, Description: "functions, versions and releases"})
	}
	if err != nil {
		return nil, fmt.Errorf("registry: bucket %s: %w", bucketName, err)
	}
	for name, store := range map[string]*jetstream.ObjectStore{artifactsName: &r.artifacts, sourcesName: &r.sources} {
		if *store, err = openStore(ctx, js, name); err != nil {
			return nil, fmt.Errorf("registry: object store %s: %w", name, err)
		}
	}
	return r, nil
}

// Namespace returns the registry of another namespace in the same store. What one of them
// collects, or holds, is that of all.
func (r *Registry) Namespace(name string) *Registry { return &Registry{name, r.store} }

// duplicates is for how long the NATS server looks for messages that were sent
// twice, the least it takes. There are none in object stores, and yet when it starts
// it reads, for its default of two minutes, all that was stored in that time.
const duplicates = 100 * time.Millisecond

// openStore does not ask for compression: a NATS server that was killed reads the
// whole store when it starts, and takes seven times as long if that is compressed.
func openStore(ctx context.Context, js jetstream.JetStream, name string) (jetstream.ObjectStore, error) {
	s, err := js.ObjectStore(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		s, err = js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: name})
	}
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, "OBJ_"+name)
	if err != nil {
		return nil, err
	}
	if cfg := stream.CachedInfo().Config; cfg.Duplicates > duplicates {
		cfg.Duplicates = duplicates
		_, err = js.UpdateStream(ctx, cfg)
	}
	return s, err
}

func (r *Registry) functionKey(name string) string { return "function." + r.ns + "." + name }

func (r *Registry) versionKey(name string, number int) string {
	return "version." + r.ns + "." + name + "." + strconv.Itoa(number)
}

func (r *Registry) logKey(name string, number int) string {
	return "log." + r.ns + "." + name + "." + strconv.Itoa(number)
}

// Function returns the record of a function. The error wraps [ErrNotFound] if
// there is none, and [ErrDamaged].
func (r *Registry) Function(ctx context.Context, name string) (*Function, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e, err := r.kv.Get(ctx, r.functionKey(name))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("function %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("registry: function %q: %w", name, err)
	}
	return decodeFunction(name, e)
}

func decodeFunction(name string, e jetstream.KeyValueEntry) (*Function, error) {
	f := &Function{}
	err := json.Unmarshal(e.Value(), f)
	if err == nil && f.Name != name {
		err = fmt.Errorf("it is that of %q", f.Name)
	}
	if err == nil {
		err = f.Release.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the record %s of bucket %s: %v", ErrDamaged, e.Key(), e.Bucket(), err)
	}
	f.Revision = e.Revision()
	return f, nil
}

// Version returns a version of a function. The error wraps [ErrNotFound] or
// [ErrDamaged].
func (r *Registry) Version(ctx context.Context, name string, number int) (*Version, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e, err := r.kv.Get(ctx, r.versionKey(name, number))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("version v%d of function %q: %w", number, name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("registry: version v%d of function %q: %w", number, name, err)
	}
	v := &Version{}
	err = json.Unmarshal(e.Value(), v)
	if err == nil && (v.Function != name || v.Number != number || v.Manifest == nil || len(v.Program) != 64) {
		err = errors.New("parts of it are missing")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the record %s of bucket %s: %v", ErrDamaged, e.Key(), e.Bucket(), err)
	}
	return v, nil
}

// Log returns what the build of a version said.
func (r *Registry) Log(ctx context.Context, name string, number int) (string, error) {
	e, err := r.kv.Get(ctx, r.logKey(name, number))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("registry: log of v%d of function %q: %w", number, name, err)
	}
	return string(e.Value()), nil
}

// Numbers returns the numbers of the versions of a function, ascending.
func (r *Registry) Numbers(ctx context.Context, name string) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys, err := r.keys(ctx, "version."+r.ns+"."+name+".*")
	if err != nil {
		return nil, err
	}
	var list []int
	for _, key := range keys {
		if n, err := strconv.Atoi(key[strings.LastIndexByte(key, '.')+1:]); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// Names returns the functions of which there are versions, with or without a release.
func (r *Registry) Names(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys, err := r.keys(ctx, "version."+r.ns+".*.*")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, key := range keys {
		list = append(list, strings.Split(key, ".")[2])
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// keys lists the keys that are there. It returns all of them or an error.
func (r *Registry) keys(ctx context.Context, filter string) ([]string, error) {
	w, err := r.kv.Watch(ctx, filter, jetstream.IgnoreDeletes(), jetstream.MetaOnly())
	if err != nil {
		return nil, fmt.Errorf("registry: list %s: %w", filter, err)
	}
	defer stop(w)
	var list []string
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("registry: list %s: %w", filter, errBrokenOff)
			}
			if e == nil {
				return list, nil
			}
			list = append(list, e.Key())
		case <-ctx.Done():
			return nil, fmt.Errorf("registry: list %s: %w", filter, ctx.Err())
		}
	}
}

// Versions returns the versions of a function, the newest first. Damaged ones are
// left out, and named by the error, which wraps [ErrDamaged].
func (r *Registry) Versions(ctx context.Context, name string) (list []*Version, err error) {
	numbers, err := r.Numbers(ctx, name)
	if err != nil {
		return nil, err
	}
	var damaged error
	for _, n := range slices.Backward(numbers) {
		v, err := r.Version(ctx, name, n)
		switch {
		case err == nil:
			list = append(list, v)
		case errors.Is(err, ErrDamaged):
			damaged = errors.Join(damaged, err)
		case !errors.Is(err, ErrNotFound): // removed meanwhile
			return nil, err
		}
	}
	return list, damaged
}
