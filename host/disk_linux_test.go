package host_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/disktest"
	"github.com/fnhost/fnhost/host/registry"
)

func TestDeployOnAFullDisk(t *testing.T) { disktest.Run(t, 160, testDeployOnAFullDisk) }

func testDeployOnAFullDisk(t *testing.T, dir string) {
	f := onDisk(t, dir)
	f.deploy("one", host.DeployOptions{})
	f.deploy("two", host.DeployOptions{})
	f.answers("", "two")
	free := disktest.Fill(t, dir)
	f.refuses("no room for a new version: 0 MiB are free")
	// Something else writes to a stream, until nothing can be.
	f.stopStorage()
	f.refuses("no room for a new version")
	if _, err := f.SetRelease(t.Context(), "hello", "me", registry.Whole(1)); !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("SetRelease = %v", err)
	}
	if err := f.Remove(t.Context(), "hello"); !errors.Is(err, functions.ErrUnavailable) {
		t.Errorf("Remove = %v", err)
	}
	f.answers("", "two")

	restored := f.Bus().Restored()
	free()
	<-restored
	if v := f.deploy("three", host.DeployOptions{}); v != "v3" {
		t.Errorf("version %s", v)
	}
	f.answers("", "three")
	if _, err := f.Rollback(t.Context(), "hello", "me", 0); err != nil {
		t.Error(err)
	}
	f.answers("", "two")

	// The same host on a disk that is full at its start.
	free = disktest.Fill(t, dir)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(serves)
	f.answers("", "two")
	f.refuses("no room for a new version")
	free()
	f.await("there is room", func() bool { return f.Bus().StorageErr() == nil })
	f.deploy("four", host.DeployOptions{})
	f.answers("", "four")
}

// onDisk starts a host whose data lies in dir.
func onDisk(t *testing.T, dir string) *fixture {
	t.Helper()
	f := &fixture{t: t, data: dir}
	f.open(serves)
	return f
}

// refuses checks that a deploy fails, and how, and that it changes nothing.
func (f *fixture) refuses(want string) {
	f.t.Helper()
	source := tree(f.t.(*testing.T), map[string]string{"hello/hello.go": constant("hello", "refused")})
	begin := time.Now()
	_, err := f.Deploy(f.t.Context(), source, host.DeployOptions{})
	if !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), f.data) {
		f.t.Errorf("Deploy = %v, want %q in it", err, want)
	}
	if took := time.Since(begin); took > 10*time.Second {
		f.t.Errorf("it took %v", took)
	}
	f.answers("", "two")
	f.answers("v1", "one")
}

// stopStorage writes to the registry's bucket until it takes nothing.
func (f *fixture) stopStorage() {
	f.t.Helper()
	s := stateOf(f.t, f.Bus())
	for n := 0; f.Bus().StorageErr() == nil; n++ {
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		s.kv.Put(ctx, fmt.Sprint("test.", n), make([]byte, 1000))
		cancel()
	}
	if e, err := s.kv.Get(f.t.Context(), "function.default.hello"); err != nil || e.Operation() != jetstream.KeyValuePut {
		f.t.Errorf("the registry cannot be read any more: %v", err)
	}
}

// A deploy that is under way when storage stops ends at once: a stream that has
// stopped does not answer.
func TestStorageStopsDuringADeploy(t *testing.T) {
	disktest.Run(t, 160, func(t *testing.T, dir string) {
		f := onDisk(t, dir)
		f.deploy("one", host.DeployOptions{})
		var free func()
		begin := time.Now()
		_, err := f.Deploy(t.Context(), tree(t, map[string]string{"hello/hello.go": constant("hello", "two")}), host.DeployOptions{
			OnEvent: onceStored(func() {
				free = disktest.Fill(t, dir)
				f.stopStorage()
			}),
		})
		if !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), "nothing can be stored") {
			t.Errorf("Deploy = %v", err)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		f.answers("", "one")
		restored := f.Bus().Restored()
		free()
		<-restored
		if v := f.deploy("two", host.DeployOptions{}); v != "v2" {
			t.Errorf("version %s", v)
		}
		f.answers("", "two")
	})
}
