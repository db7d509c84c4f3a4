package registry

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/bus"
)

func TestMain(m *testing.M) {
	// A goroutine of nats.go outlives a short upload to an object store, if it gets
	// to run only when that has ended.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// fixture is a registry on a server of its own.
type fixture struct {
	*Registry
	t   *testing.T
	dir string // of the server
	bus *bus.Bus
}

func open(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.start()
	return f
}

// start starts the server, again after stop.
func (f *fixture) start() {
	f.t.Helper()
	var err error
	f.bus, err = bus.Start(bus.Config{StoreDir: f.dir, Logger: slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.stop)
	f.Registry = f.other("default")
}

// other returns a registry on the same server.
func (f *fixture) other(namespace string) *Registry {
	f.t.Helper()
	r, err := Open(f.t.Context(), f.bus.Control(), namespace)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) stop() {
	if f.bus == nil {
		return
	}
	if err := f.bus.Close(); err != nil {
		f.t.Error(err)
	}
	f.bus = nil
}

// file writes a file of its own.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// version returns one of a function, to be added.
func version(function string) *Version {
	return &Version{Function: function, Artifact: "artifact", Manifest: &manifest.Manifest{}, Created: time.Now().UTC(), Source: Source{Kind: Upload}}
}

// add adds a version of a program and a source.
func (f *fixture) add(function, program, source string) *Version {
	f.t.Helper()
	v := version(function)
	if err := f.Add(f.t.Context(), v, file(f.t, program), file(f.t, source), "log of "+program); err != nil {
		f.t.Fatal(err)
	}
	return v
}

// release releases one version to all.
func (f *fixture) release(function string, number int) *Function {
	f.t.Helper()
	r, err := f.Release(f.t.Context(), function, "test", func(*Function) ([]Part, error) { return Whole(number), nil })
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// write puts something into the bucket by hand.
func (f *fixture) write(key, value string) {
	f.t.Helper()
	if _, err := f.kv.PutString(f.t.Context(), key, value); err != nil {
		f.t.Fatal(err)
	}
}

// objects counts the objects of a store, and the parts that it holds.
func (f *fixture) objects(store jetstream.ObjectStore) (objects, parts int) {
	f.t.Helper()
	list, err := store.List(f.t.Context())
	if err != nil && err != jetstream.ErrNoObjectsFound {
		f.t.Fatal(err)
	}
	return len(list), len(f.parts(store))
}

// parts returns the subjects of the parts of objects.
func (f *fixture) parts(store jetstream.ObjectStore) map[string]uint64 {
	f.t.Helper()
	status, err := store.Status(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	stream, err := f.js.Stream(f.t.Context(), "OBJ_"+status.Bucket())
	if err != nil {
		f.t.Fatal(err)
	}
	info, err := stream.Info(f.t.Context(), jetstream.WithSubjectFilter(fmt.Sprintf("$O.%s.C.>", status.Bucket())))
	if err != nil {
		f.t.Fatal(err)
	}
	return info.State.Subjects
}
