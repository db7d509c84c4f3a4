package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/kv"
)

func TestSecretsHaveVersions(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	_, _, err := s.Get(t.Context(), "db")
	wantErr(t, err, ErrNotFound)
	for i := 1; i <= Keep+3; i++ {
		if info := s.set(t, "db", fmt.Sprint("value-", i)); info.Version != i || info.By != "ada" {
			t.Fatalf("set %d gives %+v", i, info)
		}
		s.want(t, "db", fmt.Sprint("value-", i), i)
	}
	s.set(t, "a/b.c=d", "other")
	list, err := s.Versions("db")
	if err != nil || len(list) != Keep || list[0].Version != Keep+3 || list[Keep-1].Version != 4 {
		t.Errorf("versions %+v, %v", list, err)
	}
	if names := s.Names(); !slices.Equal(names, []string{"a/b.c=d", "db"}) {
		t.Errorf("names %q", names)
	}
	again := mustOpen(t, b, source)
	again.want(t, "db", fmt.Sprint("value-", Keep+3), Keep+3)
	if got := again.List(); len(got) != 2 || got[1].Version != Keep+3 {
		t.Errorf("list after opening again: %+v", got)
	}
	if n, err := b.Count(t.Context(), kv.Prefix("default.")); err != nil || n != Keep+1 {
		t.Errorf("%d records, %v, want %d", n, err, Keep+1)
	}
	if err := s.Remove(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Get(t.Context(), "db")
	wantErr(t, err, ErrNotFound)
	wantErr(t, s.Remove(t.Context(), "db"), ErrNotFound)
	s.set(t, "db", "anew")
	s.want(t, "db", "anew", 1)
	eventually(t, "the other one sees it", func() bool {
		got, _, err := again.Get(t.Context(), "db")
		return err == nil && string(got) == "anew"
	})
}

func TestWhatIsNoSecretIsRefused(t *testing.T) {
	s := mustOpen(t, bucket(t, server(t)), own(t))
	tests := []struct {
		name, secret, value string
		want                error
	}{
		{"no name", "", "value", kv.ErrInvalidKey},
		{"space in the name", "a b", "value", kv.ErrInvalidKey},
		{"a long name", strings.Repeat("a", MaxName+1), "value", kv.ErrInvalidKey},
		{"no value", "a", "", ErrValue},
		{"a large value", "a", strings.Repeat("x", MaxValue+1), ErrValue},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.Set(t.Context(), test.secret, []byte(test.value), "")
			wantErr(t, err, test.want)
		})
	}
	if _, err := os.Stat(s.cfg.Source.Own); err == nil {
		t.Error("a master key was made for nothing")
	}
	s.set(t, strings.Repeat("a", MaxName), strings.Repeat("x", MaxValue))
	s.want(t, strings.Repeat("a", MaxName), strings.Repeat("x", MaxValue), 1)
}

func TestValuesAreNotInTheBucket(t *testing.T) {
	b := bucket(t, server(t))
	s := mustOpen(t, b, own(t))
	s.set(t, "db", "hunter2-hunter2")
	for e, err := range kv.All(t.Context(), b, kv.Query{Values: true}) {
		if err != nil || bytes.Contains(e.Value, []byte("hunter2")) {
			t.Errorf("%s: %q, %v", e.Key, e.Value, err)
		}
	}
}

// Many who set one secret at the same time, in two stores: each gets a version of its own.
func TestSettersOfOneSecretGetDifferentVersions(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	s.set(t, "first", "there is a key now")
	other := mustOpen(t, b, source)
	var wg sync.WaitGroup
	got := make([]int, 40)
	for i := range got {
		store := []*Store{s, other}[i%2]
		wg.Go(func() { got[i] = store.set(t, "db", fmt.Sprint(i)).Version })
	}
	wg.Wait()
	slices.Sort(got)
	for i := range got { // who comes late leaves a number out
		if got[i] < i+1 || i > 0 && got[i] == got[i-1] {
			t.Fatalf("versions %v, want each once", got)
		}
	}
}

// A host without a key starts as long as there is nothing that one was used for.
func TestWrongKeyIsRefused(t *testing.T) {
	js := server(t)
	b, source := bucket(t, js), own(t)
	s := mustOpen(t, b, source)
	early := mustOpen(t, b, own(t)) // when there was nothing yet
	s.set(t, "db", "value")
	s.Close()
	before := dump(t, b)
	for name, source := range map[string]*Source{"none": own(t), "another": {File: keyFile(t, NewKey())}, "several": {File: keyFile(t, NewKey(), NewKey())}} {
		_, err := reopen(t, b, source)
		wantErr(t, err, ErrWrongKey)
		if !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "--master-key-file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "the early one knows", func() bool { return early.checkID() != "" })
	_, err := early.Set(t.Context(), "other", []byte("value"), "")
	wantErr(t, err, ErrWrongKey)
	if _, err := os.Stat(early.cfg.Source.Own); err == nil {
		t.Error("a master key was made that nothing is sealed with")
	}
	if after := dump(t, b); after != before {
		t.Errorf("the bucket has changed:\n%s\nwas\n%s", after, before)
	}
	mustOpen(t, b, source).want(t, "db", "value", 1)
}

// dump returns all that a bucket holds.
func dump(t *testing.T, b kv.Bucket) string {
	t.Helper()
	var text strings.Builder
	for e, err := range kv.All(t.Context(), b, kv.Query{Values: true}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %d %s\n", e.Key, e.Revision, e.Value)
	}
	return text.String()
}

// A record that was changed does not open, whatever was changed, and so does one in
// another one's place.
func TestDamagedRecordsDoNotOpen(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	s.set(t, "db", "old value of db")
	s.set(t, "db", "new value of db")
	s.set(t, "mail", "value of mail")
	s.Close()
	key := recordKey("default", "db", 2)
	get := func(key string) *record {
		e, err := b.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		r, err := decodeRecord(key, e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	good := get(key).encode()
	tests := []struct {
		name   string
		damage func(r *record)
	}{
		{"the value", func(r *record) { r.Value[len(r.Value)/2] ^= 1 }},
		{"the value's nonce", func(r *record) { r.Value[0] ^= 1 }},
		{"the value is cut", func(r *record) { r.Value = r.Value[:len(r.Value)-1] }},
		{"no value", func(r *record) { r.Value = nil }},
		{"the data key", func(r *record) { r.Wrap[len(r.Wrap)/2] ^= 1 }},
		{"no data key", func(r *record) { r.Wrap = nil }},
		{"the time", func(r *record) { r.Created = r.Created.Add(1) }},
		{"who", func(r *record) { r.By = "eve" }},
		{"the namespace", func(r *record) { r.Namespace = "other" }},
		{"the name", func(r *record) { r.Name = "mail" }},
		{"the version", func(r *record) { r.Version = 1 }},
		{"the format", func(r *record) { r.Format = 2 }},
		{"the key's ID", func(r *record) { r.Key = NewKey().ID() }},
		{"all of another secret", func(r *record) { *r = *get(recordKey("default", "mail", 1)); r.Name, r.Version = "db", 2 }},
		{"all of another version", func(r *record) { *r = *get(recordKey("default", "db", 1)); r.Version = 2 }},
		{"the value of another version", func(r *record) { r.Value = get(recordKey("default", "db", 1)).Value }},
		{"the data key of another version", func(r *record) { r.Wrap = get(recordKey("default", "db", 1)).Wrap }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := get(key)
			test.damage(r)
			if _, err := b.Put(t.Context(), key, r.encode()); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, b, source)
			defer s.Close()
			if got, info, err := s.Get(t.Context(), "db"); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) {
				t.Errorf("it opens as %q, %+v, %v", got, info, err)
			}
			s.want(t, "mail", "value of mail", 1)
			if _, err := b.Put(t.Context(), key, good); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is whole again", func() bool {
				got, _, err := s.Get(t.Context(), "db")
				return err == nil && string(got) == "new value of db"
			})
		})
	}
}

// Who has waited while others have set more versions than are kept does not become one of
// those that are gone.
func TestASetterThatComesLateStoresTheNewestVersion(t *testing.T) {
	b, source := bucket(t, server(t)), own(t)
	s := mustOpen(t, b, source)
	s.set(t, "db", "1")
	late := &record{Format: recordFormat, Namespace: "default", Name: "db", Created: time.Now().UTC(), Version: 1}
	for i := range Keep + 1 {
		s.set(t, "db", fmt.Sprint(i+2))
	}
	if late, err := s.isLate(t.Context(), late); err != nil || !late {
		t.Errorf("version 1 is late: %v, %v", late, err)
	}
	s.mu.Lock()
	kept := s.index["db"]
	s.index["db"] = map[int]known{} // it has seen none of them
	s.mu.Unlock()
	if info := s.set(t, "db", "late"); info.Version != Keep+3 {
		t.Errorf("stored as version %d, after %d others", info.Version, len(kept))
	}
	if v, _, err := s.Get(t.Context(), "db"); err != nil || string(v) != "late" {
		t.Errorf("the secret is %q, %v", v, err)
	}
}
