package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Add stores a version, whose Number it chooses, and what belongs to it: the
// program and the bundle of the files at those paths, whose SHA-256 it notes in
// the version, and the log of the build. Nothing serves because of it.
func (r *Registry) Add(ctx context.Context, v *Version, program, bundle, log string) error {
	r.storing.RLock()
	defer r.storing.RUnlock()
	var err error
	if v.Program, err = r.putFile(ctx, r.artifacts, program); err != nil {
		return fmt.Errorf("registry: store the program of function %q: %w", v.Function, err)
	}
	if v.Source.Bundle, err = r.putFile(ctx, r.sources, bundle); err != nil {
		return fmt.Errorf("registry: store the source of function %q: %w", v.Function, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	numbers, err := r.Numbers(ctx, v.Function)
	if err != nil {
		return err
	}
	if len(numbers) > 0 {
		v.Number = numbers[len(numbers)-1]
	}
	for {
		v.Number++
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("registry: %w", err)
		}
		if _, err = r.kv.Create(ctx, r.versionKey(v.Function, v.Number), data); errors.Is(err, jetstream.ErrKeyExists) {
			continue // another node took the number
		}
		if err != nil {
			return fmt.Errorf("registry: version of function %q: %w", v.Function, err)
		}
		break
	}
	r.kv.PutString(ctx, r.logKey(v.Function, v.Number), log) // the version is whole without it
	return nil
}

// Release changes what serves, in one step: change gets the record as it is, a
// new one if there is none, and returns the parts of the new release, or an error
// that ends it. It is called again when somebody else was faster. by says who
// asks. The versions must be there: else the error wraps [ErrNotFound].
//
// A damaged record is one without parts to change, and with a revision. The new
// one takes its place; it is kept under the key "damaged." and its own.
func (r *Registry) Release(ctx context.Context, name, by string, change func(f *Function) ([]Part, error)) (*Function, error) {
	for {
		f, err := r.record(ctx, name)
		if err != nil {
			return nil, err
		}
		parts, err := change(f)
		if err != nil {
			return nil, err
		}
		f.Release = Release{Parts: sorted(slices.Clone(parts)), Time: time.Now().UTC(), By: by}
		if err := f.Release.Check(); err != nil {
			return nil, err
		}
		revision, err := r.putRelease(ctx, f)
		if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) || isWrongSequence(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("registry: release of function %q: %w", name, err)
		}
		f.Revision = revision
		return f, nil
	}
}

// putRelease stores the record of a function if the versions that it releases are
// there. They stay there meanwhile: Trim waits.
func (r *Registry) putRelease(ctx context.Context, f *Function) (uint64, error) {
	r.releasing.RLock()
	defer r.releasing.RUnlock()
	for _, p := range f.Release.Parts {
		if _, err := r.Version(ctx, f.Name, p.Version); err != nil {
			return 0, err
		}
		f.Released = append(f.Released, p.Version)
	}
	slices.Sort(f.Released)
	f.Released = slices.Compact(f.Released)
	return r.put(ctx, f)
}

// record returns the record of a function for a change.
func (r *Registry) record(ctx context.Context, name string) (*Function, error) {
	f, err := r.Function(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return &Function{Name: name}, nil
	}
	if !errors.Is(err, ErrDamaged) {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	key := r.functionKey(name)
	e, err := r.kv.Get(ctx, key)
	if err == nil {
		_, err = r.kv.Put(ctx, "damaged."+key, e.Value())
	}
	if err != nil {
		return nil, fmt.Errorf("registry: keep the damaged record of function %q: %w", name, err)
	}
	return &Function{Name: name, Revision: e.Revision()}, nil
}

// isWrongSequence reports whether somebody else has stored something meanwhile, or, in
// a cluster, is about to.
func isWrongSequence(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) &&
		(e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// put stores the record of a function if it is still the one that was read.
func (r *Registry) put(ctx context.Context, f *Function) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	data, err := json.Marshal(f)
	if err != nil {
		return 0, err
	}
	if f.Revision == 0 {
		return r.kv.Create(ctx, r.functionKey(f.Name), data)
	}
	return r.kv.Update(ctx, r.functionKey(f.Name), data, f.Revision)
}

// Remove removes a function with all of its versions. The error wraps
// [ErrNotFound] if there is none.
func (r *Registry) Remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	numbers, err := r.Numbers(ctx, name)
	if err != nil {
		return err
	}
	if _, err := r.kv.Get(ctx, r.functionKey(name)); errors.Is(err, jetstream.ErrKeyNotFound) && len(numbers) == 0 {
		return fmt.Errorf("function %q: %w", name, ErrNotFound)
	}
	if err := r.kv.Purge(ctx, r.functionKey(name)); err != nil { // first: nothing serves that is half there
		return fmt.Errorf("registry: remove function %q: %w", name, err)
	}
	for _, n := range numbers {
		if err := r.removeVersion(ctx, name, n); err != nil {
			return err
		}
	}
	return nil
}

// Erase removes all records of the namespace, and leaves no sign of them: nobody may
// watch it any more. What they have named [Registry.Collect] removes.
func (r *Registry) Erase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stream, err := r.js.Stream(ctx, "KV_"+bucketName)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	for _, kind := range []string{"function.", "damaged.function.", "log.", "version."} {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucketName+"."+kind+r.ns+".>")); err != nil {
			return fmt.Errorf("registry: remove namespace %s: %w", r.ns, err)
		}
	}
	return nil
}

func (r *Registry) removeVersion(ctx context.Context, name string, number int) error {
	for _, key := range []string{r.logKey(name, number), r.versionKey(name, number)} {
		if err := r.kv.Purge(ctx, key); err != nil {
			return fmt.Errorf("registry: remove %s: %w", key, err)
		}
	}
	return nil
}

// Trim removes the versions of a function that are neither released nor among the
// latest [Keep], and returns their numbers.
func (r *Registry) Trim(ctx context.Context, name string) (removed []int, err error) {
	r.releasing.Lock()
	defer r.releasing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	numbers, err := r.Numbers(ctx, name)
	if err != nil || len(numbers) <= Keep {
		return nil, err
	}
	f, err := r.Function(ctx, name)
	if errors.Is(err, ErrNotFound) {
		f, err = &Function{}, nil
	}
	if err != nil {
		return nil, err // what a damaged record has released is not known
	}
	for _, n := range numbers[:len(numbers)-Keep] {
		if f.Release.Holds(n) {
			continue
		}
		if err := r.removeVersion(ctx, name, n); err != nil {
			return removed, err
		}
		removed = append(removed, n)
	}
	return removed, nil
}
