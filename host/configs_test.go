package host_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/kv/config"
	"github.com/fnhost/fnhost/kv/jetkv"
)

// rateFunction answers with its configuration.
const rateFunction = `package rate

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context) (string, error) {
	c, err := functions.Config(ctx)
	return c.String("limits.rate", "none") + " " + c.String("region", "none"), err
}

// HandleWait has another worker started for who comes meanwhile.
func HandleWait() { time.Sleep(100 * time.Millisecond) }

// HandleAll returns all of it.
func HandleAll(ctx context.Context) (string, error) {
	c, err := functions.Config(ctx)
	return string(c.JSON()), err
}
`

const rateManifest = `
config:
  schema:
    type: object
    required: [region]
    properties:
      limits: {type: object, properties: {rate: {type: integer, minimum: 1}}}
      region: {enum: [eu, us]}
  defaults:
    limits: {rate: 10}
`

func (f *fixture) set(l host.ConfigLayer, path string, value any) *config.Record {
	f.t.Helper()
	r, err := f.SetConfig(f.t.Context(), l, "ada", path, value)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) answer(name, want string) {
	f.t.Helper()
	if out, err := f.Invoke(f.t.Context(), name, nil); err != nil || string(out) != want {
		f.t.Errorf("%s says %q, %v; want %q", name, out, err, want)
	}
}

func (f *fixture) awaitSays(name, want string) {
	f.t.Helper()
	f.await(name+" says "+want, func() bool {
		out, err := f.Invoke(f.t.Context(), name, nil)
		return err == nil && string(out) == want
	})
}

// startAll has so many workers of a function run, whose concurrency is 1.
func (f *fixture) startAll(name string, workers int) {
	f.t.Helper()
	f.await("all workers have started", func() bool {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() { f.Invoke(context.Background(), name+"/wait", nil) })
		}
		wg.Wait()
		s, err := f.Function(name)
		return err == nil && s.Workers.Workers == workers
	})
}

func (f *fixture) awaitFailure(name, want string) {
	f.t.Helper()
	f.await(name+" has failed since "+want, func() bool {
		e, ok := f.event(name, host.Failed)
		return ok && strings.Contains(e.Err.Error(), want)
	})
}

var (
	ofNamespace host.ConfigLayer
	ofRate      = host.ConfigLayer{Function: "rate"}
)

// readRate is rateFunction in this process.
func readRate(ctx context.Context) (string, error) {
	c, err := functions.Config(ctx)
	return c.String("limits.rate", "none"), err
}

func TestConfigReachesAllWorkersWithoutRestart(t *testing.T) {
	const local, processes = 100, 4
	f := start(t, map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": "concurrency: 1\nscale: {min: 4, max: 4}\n"}, nil)
	for i := range local {
		if err := f.Handle(fmt.Sprint("local-", i), readRate); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.Views(); n != 0 {
		t.Errorf("%d are followed that have not asked", n)
	}
	f.awaitState("rate", host.Ready)
	everywhere := func(want string) {
		for i := range local {
			f.awaitSays(fmt.Sprint("local-", i), want)
		}
		f.await("four times in a row, at once, the processes say "+want, func() bool {
			var wrong atomic.Bool
			for range 4 {
				var wg sync.WaitGroup
				for range processes {
					wg.Go(func() {
						if out, err := f.Invoke(t.Context(), "rate", nil); err != nil || string(out) != want+" none" {
							wrong.Store(true)
						}
					})
				}
				wg.Wait()
			}
			return !wrong.Load()
		})
	}
	everywhere("none")
	f.startAll("rate", processes)
	before, _ := f.Function("rate")
	f.set(ofNamespace, "limits.rate", 5)
	everywhere("5")
	f.set(ofNamespace, "limits.rate", 9007199254740993)
	everywhere("9007199254740993")
	after, _ := f.Function("rate")
	if before.Workers.Started != after.Workers.Started || after.Version != before.Version {
		t.Errorf("workers were started anew: %+v, then %+v", before.Workers, after.Workers)
	}
	f.CutFollowers()
	everywhere("9007199254740993")
	f.set(ofNamespace, "limits.rate", 6)
	everywhere("6")
	if err := f.Handle("local-0", readRate); err != nil {
		t.Fatal(err)
	}
	f.await("the one before it is no longer followed", func() bool { return f.Views() == local })
}

func TestConfigThatDoesNotFitIsRefused(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch = nil })
	source := tree(t, map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": rateManifest})
	_, err := f.Deploy(t.Context(), source, host.DeployOptions{})
	if !errors.Is(err, &functions.Error{Code: functions.Unprocessed}) || !strings.Contains(err.Error(), `the configuration of function "rate" does not fit: region is missing: `+"`fnhost config set PATH VALUE --function rate`") {
		t.Errorf("deploy without what is required: %v", err)
	}
	f.set(ofRate, "region", "eu")
	if _, err = f.Deploy(t.Context(), source, host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
	f.answer("rate", "10 eu")
	good := f.set(ofNamespace, "limits.rate", 20)
	f.awaitSays("rate", "20 eu")
	for _, test := range []struct {
		name   string
		change func() error
		want   string
	}{
		{"a wrong type", func() error { _, err := f.SetConfig(t.Context(), ofRate, "", "limits.rate", "fast"); return err }, `function "rate" v1: limits.rate must be integer, not "fast"`},
		{"a wrong value", func() error { _, err := f.SetConfig(t.Context(), ofNamespace, "", "limits.rate", 0); return err }, `limits.rate must be at least 1, not 0`},
		{"of the version", func() error {
			_, err := f.SetConfig(t.Context(), host.ConfigLayer{Function: "rate", Version: 1}, "", "region", "asia")
			return err
		}, `region must be one of "eu", "us", not "asia"`},
		{"taken away", func() error { _, err := f.SetConfig(t.Context(), ofRate, "", "region", nil); return err }, "region is missing"},
		{"removed", func() error { _, err := f.RemoveConfig(t.Context(), ofRate, "", "region"); return err }, "region is missing"},
	} {
		if err := test.change(); !errors.Is(err, &functions.Error{Code: functions.Unprocessed}) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	f.answer("rate", "20 eu")
	if r, err := f.Config(t.Context(), ofNamespace); err != nil || r.Revision != good.Revision || r.By != "ada" {
		t.Errorf("the namespace has %+v, %v", r, err)
	}
	if _, err := f.SetConfig(t.Context(), host.ConfigLayer{Function: "rate", Version: 2}, "", "region", "asia"); err != nil {
		t.Errorf("of a version that does not serve: %v", err)
	}
	testConfigAndReleases(t, f)
}

// What the configuration fits decides what can be released, too.
func testConfigAndReleases(t *testing.T, f *fixture) {
	next := tree(t, map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": strings.Replace(rateManifest, "[eu, us]", "[asia]", 1)})
	f.set(host.ConfigLayer{Function: "rate", Version: 2}, "region", "us")
	_, err := f.Deploy(t.Context(), next, host.DeployOptions{})
	if err == nil || !strings.Contains(err.Error(), `region must be one of "asia", not "us"`) {
		t.Errorf("a version that does not take what is set: %v", err)
	}
	f.answer("rate", "20 eu")
	f.set(host.ConfigLayer{Function: "rate", Version: 2}, "region", "asia")
	if _, err := f.Deploy(t.Context(), next, host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
	f.answer("rate", "20 asia")
	f.set(ofRate, "region", 7)
	if _, err := f.Rollback(t.Context(), "rate", "", 1); err == nil || !strings.Contains(err.Error(), `region must be one of "eu", "us", not 7`) {
		t.Errorf("back to a version that does not take what is set: %v", err)
	}
	f.answer("rate", "20 asia")
	f.set(ofRate, "region", "us")
	if _, err := f.Rollback(t.Context(), "rate", "", 1); err != nil {
		t.Fatal(err)
	}
	f.answer("rate", "20 us")
	e, err := f.EffectiveConfig(t.Context(), "rate", 0)
	if err != nil || string(config.Marshal(e.Values)) != `{"limits":{"rate":20},"region":"us"}` || e.Version != "v1" || e.Misfit != "" ||
		e.From["limits.rate"].Key() != "namespace.default" || e.From["region"].Key() != "function.default.rate" {
		t.Errorf("effective: %+v, %v", e, err)
	}
	if e, err := f.EffectiveConfig(t.Context(), "rate", 2); err != nil || e.Misfit != "" || e.From["region"].Version != 2 {
		t.Errorf("effective of v2: %+v, %v", e, err)
	}
}

// Of a release and a change that do not fit each other one is refused, also if they come at once.
func TestReleasesAndChangesOfConfigAtOnce(t *testing.T) {
	f := start(t, nil, nil)
	for _, regions := range []string{"[asia, us]", "[asia]"} {
		files := map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": strings.Replace(rateManifest, "[eu, us]", regions, 1)}
		f.set(ofRate, "region", "asia")
		if _, err := f.Deploy(t.Context(), tree(t, files), host.DeployOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 12 {
		if _, err := f.Rollback(t.Context(), "rate", "", 1); err != nil {
			t.Fatal(err)
		}
		f.set(ofRate, "region", "asia")
		var wg sync.WaitGroup
		var released, set error
		wg.Go(func() { _, released = f.Rollback(t.Context(), "rate", "", 2) })
		wg.Go(func() { _, set = f.SetConfig(t.Context(), ofRate, "", "region", "us") })
		wg.Wait()
		if (released == nil) == (set == nil) {
			t.Errorf("released: %v; set: %v", released, set)
		}
		if e, err := f.EffectiveConfig(t.Context(), "rate", 0); err != nil || e.Misfit != "" {
			t.Errorf("what serves reads %+v, %v", e, err)
		}
	}
}

// Who has made the bucket, as with more replicas, finds it as it was.
func TestTheBucketOfConfigKeepsItsSettings(t *testing.T) {
	f := start(t, nil, nil)
	js, err := jetstream.New(f.Bus().Control())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jetkv.Create(t.Context(), js, jetkv.Config{Bucket: config.Bucket, History: 5, MaxBytes: 50 << 20}); err != nil {
		t.Fatal(err)
	}
	f.set(ofNamespace, "region", "eu")
	if i, err := jetkv.Describe(t.Context(), js, config.Bucket); err != nil || i.MaxBytes != 50<<20 || i.History != 5 {
		t.Errorf("it is %+v, %v", i, err)
	}
}

func TestWatchedFunctionWaitsForItsConfig(t *testing.T) {
	f := start(t, map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": rateManifest}, nil)
	f.awaitFailure("rate", "region is missing")
	f.set(ofNamespace, "region", "us")
	f.awaitState("rate", host.Ready)
	f.answer("rate", "10 us")
	f.write("rate/function.yaml", strings.Replace(rateManifest, "[eu, us]", "[eu]", 1))
	f.awaitState("rate", host.Failed)
	f.answer("rate", "10 us") // the old one goes on
	f.set(ofNamespace, "region", "eu")
	f.awaitSays("rate", "10 eu")
	f.awaitState("rate", host.Ready)

	// What was set outlives the host.
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(nil)
	f.awaitState("rate", host.Ready)
	f.answer("rate", "10 eu")
}

// Somebody may write past the host. What does not fit, or cannot be read, changes nothing.
func TestConfigThatIsWrittenPastTheHost(t *testing.T) {
	f := start(t, map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": rateManifest}, nil)
	f.set(ofNamespace, "region", "eu")
	f.awaitState("rate", host.Ready)
	f.answer("rate", "10 eu")
	js, err := jetstream.New(f.Bus().Control())
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := jetkv.Open(t.Context(), js, config.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		if _, err := bucket.Put(t.Context(), "function.default.rate", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"values":{"region":"asia"}}`)
	f.await("the host says so", func() bool {
		for _, r := range f.KeptRecords("rate") {
			if strings.Contains(r.Message, `region must be one of "eu", "us", not "asia"`) && strings.Contains(r.Message, "what was set before goes on") {
				return true
			}
		}
		return false
	})
	f.answer("rate", "10 eu")
	put("no JSON")
	if _, err := f.SetConfig(t.Context(), ofNamespace, "", "limits.rate", 5); !errors.Is(err, functions.ErrUnavailable) || !strings.Contains(err.Error(), `layer "function.default.rate"`) {
		t.Errorf("set beside a layer that cannot be read: %v", err)
	}
	put(`{"values":{"region":"us"}}`)
	f.awaitSays("rate", "10 us")
	f.set(ofNamespace, "limits.rate", 5)
	f.awaitSays("rate", "5 us")
}

func TestAccessToConfig(t *testing.T) {
	f := start(t, map[string]string{"rate/r.go": rateFunction, "rate/function.yaml": "access: {config: [limits.rate]}\n"}, nil)
	f.set(ofNamespace, "", map[string]any{"limits": map[string]any{"rate": 1, "burst": 2}, "region": "eu"})
	f.awaitState("rate", host.Ready)
	f.answer("rate/all", `{"limits":{"rate":1}}`)
	f.write("rate/function.yaml", "access: {functions: [x]}\n")
	f.awaitSays("rate/all", `{}`)
}

func TestConfigErrors(t *testing.T) {
	f := server(t)
	f.set(ofRate, "limits", map[string]int{"rate": 1})
	for _, test := range []struct {
		name string
		err  error
		code functions.Code
		want string
	}{
		{"no path", errOf(f.SetConfig(t.Context(), ofRate, "", "a..b", 1)), functions.BadRequest, "a..b"},
		{"no value", errOf(f.SetConfig(t.Context(), ofRate, "", "a", func() {})), functions.BadRequest, "a"},
		{"no layer", errOf(f.SetConfig(t.Context(), host.ConfigLayer{Function: "No.Name"}, "", "a", 1)), functions.BadRequest, "No.Name"},
		{"a version of nothing", errOf(f.Config(t.Context(), host.ConfigLayer{Version: 1})), functions.BadRequest, "version 1"},
		{"nothing there", errOf(f.RemoveConfig(t.Context(), ofRate, "", "limits.rat")), functions.NotFound, `(did you mean "limits.rate"?)`},
		{"no revision", errOf(f.RollbackConfig(t.Context(), ofRate, "", 12345)), functions.NotFound, "`fnhost config history`"},
		{"no function", errOf(f.EffectiveConfig(t.Context(), "none", 3)), "no_function", "none"},
	} {
		if !errors.Is(test.err, &functions.Error{Code: test.code}) || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v, want %s with %s", test.name, test.err, test.code, test.want)
		}
	}
	if e, err := f.EffectiveConfig(t.Context(), "rate", 0); err != nil || e.Version != "" || len(e.Values) != 1 {
		t.Errorf("of a function that is not there yet: %+v, %v", e, err)
	}
	first := f.set(ofRate, "limits.rate", 2)
	f.set(ofRate, "limits.rate", 3)
	if r, err := f.RollbackConfig(t.Context(), ofRate, "eve", first.Revision); err != nil || fmt.Sprint(r.Values) != "map[limits:map[rate:2]]" {
		t.Errorf("rolled back to %+v, %v", r, err)
	}
	list, err := f.ConfigHistory(t.Context(), ofRate)
	if err != nil || len(list) != 4 || list[3].By != "eve" {
		t.Errorf("history %+v, %v", list, err)
	}
}

func errOf[T any](_ T, err error) error { return err }

const toldFunction = `package told

import (
	"strconv"
	"sync/atomic"

	"github.com/fnhost/fnhost/functions"
)

var rate atomic.Int64

func init() {
	functions.OnConfig(func(old, now *functions.Settings) {
		if now.Int("limits.rate", 0) == 13 {
			panic("bad luck")
		}
	})
	functions.OnConfig(func(old, now *functions.Settings) {
		rate.Store(int64(1000*old.Int("limits.rate", 0) + now.Int("limits.rate", 0)))
	})
}

func Handle() string { return strconv.FormatInt(rate.Load(), 10) }
`

func TestOnConfigOfAWorker(t *testing.T) {
	f := start(t, map[string]string{"told/t.go": toldFunction}, nil)
	f.set(ofNamespace, "limits.rate", 5)
	f.awaitState("told", host.Ready)
	f.awaitSays("told", "5")
	f.set(ofNamespace, "limits.rate", 13)
	f.awaitSays("told", "5013")
	f.await("the panic is logged", func() bool {
		for _, r := range f.KeptRecords("told") {
			if r.Message == "a handler of OnConfig panicked: bad luck" && strings.Contains(string(r.Attrs), "t.go") {
				return true
			}
		}
		return false
	})
	f.CutFollowers() // it is followed again, though nobody asks
	f.set(ofNamespace, "limits.rate", 6)
	f.awaitSays("told", "13006")
}

const envFunction = `package env

import "os"

func Handle() string { return os.Getenv("REGION") + " " + os.Getenv("RATE") + " " + os.Getenv("TEXT") }
`

const envManifest = `
concurrency: 4
env:
  REGION: in ${config:region}
  RATE: ${config:limits.rate:10}/s
  TEXT: $${config:region}
`

func TestEnvironmentOfConfig(t *testing.T) {
	f := start(t, map[string]string{"env/e.go": envFunction, "env/function.yaml": envManifest}, nil)
	f.awaitFailure("env", "region is missing, to which env.REGION refers")
	f.set(ofNamespace, "region", "eu")
	f.awaitState("env", host.Ready)
	f.answer("env", "in eu 10/s ${config:region}")
	if _, err := f.RemoveConfig(t.Context(), ofNamespace, "", "region"); !errors.Is(err, &functions.Error{Code: functions.Unprocessed}) {
		t.Errorf("what it needs was removed: %v", err)
	}

	// Workers are replaced, and no invocation is lost.
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var ran, lost atomic.Int64
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := f.Invoke(context.Background(), "env", nil); err != nil {
					lost.Add(1)
					t.Error(err)
				}
				ran.Add(1)
			}
		})
	}
	for i := range 5 {
		f.set(ofNamespace, "limits.rate", i)
		f.awaitSays("env", fmt.Sprintf("in eu %d/s ${config:region}", i))
	}
	stop()
	callers.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d invocations were lost", lost.Load(), ran.Load())
	}
	if s, err := f.Function("env"); err != nil || s.Workers.Crashed > 0 || s.Version != "v1" {
		t.Errorf("then: %+v, %v", s, err)
	}
	f.set(ofNamespace, "other", 1)
	f.write("env/function.yaml", "env: {REGION: x}\n")
	f.awaitSays("env", "x  ")
	f.await("nobody follows for the old version", func() bool { return f.Views() == 0 })
}
