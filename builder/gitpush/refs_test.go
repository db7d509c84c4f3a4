package gitpush

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestWhichRefsArePushed(t *testing.T) {
	tests := []struct {
		name  string
		push  []string // arguments of git push fnhost
		want  string   // output; a push that deploys nothing fails, unless that is allowed
		ref   string   // that is deployed
		allow bool
	}{
		{name: "another branch", push: []string{"dev"}, want: "remote: To deploy dev: git push fnhost dev:main"},
		{name: "another branch with main", push: []string{"main", "dev"}, want: "only main (or master) can be pushed here"},
		{name: "all branches", push: []string{"--all"}, want: "only main (or master) can be pushed here"},
		{name: "another branch as main", push: []string{"dev:main"}, ref: "refs/heads/main"},
		{name: "the hint", push: []string{"HEAD:main"}, ref: "refs/heads/main"},
		{name: "master", push: []string{"main:master"}, ref: "refs/heads/master"},
		{name: "main and master", push: []string{"main", "main:master"}, want: "both main and master were pushed"},
		{name: "notes", push: []string{"main:refs/notes/x"}, want: "refs/notes/x cannot be pushed here"},
		{name: "a tag", push: []string{"v1"}, want: "Tags are kept, and deploy nothing", allow: true},
		{name: "main with a tag", push: []string{"main", "v1"}, ref: "refs/heads/main"},
		{name: "main with tags of its commits", push: []string{"--follow-tags", "main"}, ref: "refs/heads/main"},
		{name: "a light tag as main", push: []string{"light:refs/heads/main"}, ref: "refs/heads/main"},
		{name: "a tag as main", push: []string{"v1:refs/heads/main"}, want: "git push fnhost 'TAG^{}:main'"},
		{name: "the commit of a tag as main", push: []string{"v1^{}:refs/heads/main"}, ref: "refs/heads/main"},
		{name: "a file as main", push: []string{"main:f:refs/heads/main"}, want: "is no commit: push one"},
		{name: "all or nothing", push: []string{"--atomic", "main", "v1"}, ref: "refs/heads/main"},
		{name: "dry run", push: []string{"--dry-run", "main"}, want: "[new branch]", allow: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := serve(t, Config{})
			c := newClone(t, r.url+"hello.git")
			c.commit("f", "1", "one")
			c.git("branch", "dev")
			c.git("tag", "light")
			c.git("tag", "-a", "v1", "-m", "version 1")
			out, err := c.try(append([]string{"push", "fnhost"}, test.push...)...)
			wantAll(t, out, test.want)
			if (err == nil) != (test.ref != "" || test.allow) {
				t.Errorf("git push: %v\n%s", err, out)
			}
			if test.ref == "" {
				if len(r.deployed()) > 0 {
					t.Errorf("deployed %+v", r.deployed())
				}
				return
			}
			if p, _ := r.last(); p.Ref != test.ref {
				t.Errorf("deployed %s, want %s", p.Ref, test.ref)
			}
			if got := c.git("ls-remote", "--symref", "fnhost", "HEAD"); !strings.HasPrefix(got, "ref: "+test.ref) {
				t.Errorf("HEAD is %q, want %s", got, test.ref)
			}
		})
	}
}

func TestADryRunMakesNoRepository(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	c.git("push", "--dry-run", "fnhost", "main")
	if r.repos.exists("hello") {
		t.Error("a dry run has made a repository")
	}
	c.fails([]string{"fetch", "fnhost"}, "remote: nothing was pushed to hello yet")
}

func TestHEADFollowsWhatIsDeployed(t *testing.T) {
	fail := false
	r := serve(t, Config{Deploy: func(context.Context, Push) error {
		if fail {
			return errors.New("no")
		}
		return nil
	}})
	c := newClone(t, r.url+"hello.git")
	for _, push := range []struct {
		to, want string
		fail     bool
	}{{"master", "master", false}, {"main", "master", true}, {"main", "main", false}, {"master", "main", true}, {"master", "master", false}} {
		c.commit("f", push.to, "next")
		fail = push.fail
		if _, err := c.try("push", "fnhost", "HEAD:"+push.to); (err != nil) != push.fail {
			t.Errorf("push to %s: %v", push.to, err)
		}
		if got := c.git("ls-remote", "--symref", "fnhost", "HEAD"); !strings.HasPrefix(got, "ref: refs/heads/"+push.want+"\t") {
			t.Errorf("HEAD is %q, want %s", got, push.want)
		}
	}
}

func TestDeletions(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	first := c.commit("f", "1", "one")
	c.git("tag", "v1")
	c.git("push", "fnhost", "main", "v1")
	for _, args := range [][]string{{"--delete", "main"}, {":v1"}, {":main", "v1:v2"}} {
		c.fails(append([]string{"push", "fnhost"}, args...), "cannot be deleted by a push")
	}
	if got := r.ref("hello", "refs/heads/main"); got != first || len(r.deployed()) != 1 {
		t.Errorf("main stands at %q after %d deploys", got, len(r.deployed()))
	}
}

func TestForcePush(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	first := c.commit("f", "1", "one")
	c.git("push", "fnhost", "main")
	c.git("commit", "-q", "--amend", "-m", "another one")
	second := c.git("rev-parse", "HEAD")
	c.fails([]string{"push", "fnhost", "main"}, "non-fast-forward")
	c.git("push", "--force", "fnhost", "main")
	if p, _ := r.last(); p.Old != first || p.Commit != second || r.ref("hello", "refs/heads/main") != second {
		t.Errorf("push %+v, main at %s", p, r.ref("hello", "refs/heads/main"))
	}
}

func TestShallowClonesCanPush(t *testing.T) {
	origin := newClone(t, "file:///nowhere")
	for _, n := range []string{"1", "2", "3"} {
		origin.commit("f", n, n)
	}
	r := serve(t, Config{})
	for i := range 3 {
		c := &clone{t, t.TempDir()}
		c.git("clone", "-q", "--depth=1", "file://"+origin.dir, ".")
		c.git("remote", "add", "fnhost", r.url+"hello.git")
		c.git("push", "--force", "fnhost", "HEAD:main") // it does not know what was pushed before
		p, tree := r.last()
		if p.Commit != c.git("rev-parse", "HEAD") || len(r.deployed()) != i+1 || !strings.HasPrefix(tree, "644 f: ") {
			t.Errorf("push %+v", p)
		}
		origin.commit("f", "next", "next")
	}
	origin.git("push", r.url+"hello.git", "HEAD:main")
	if p, _ := r.last(); p.Commit != origin.git("rev-parse", "HEAD") {
		t.Errorf("push %+v", p)
	}
	back := &clone{t, t.TempDir()}
	back.git("clone", "-q", r.url+"hello", ".")
	if got, want := back.git("rev-parse", "HEAD"), origin.git("rev-parse", "HEAD"); got != want {
		t.Errorf("cloned %s, want %s", got, want)
	}
	again := newClone(t, r.url+"hello")
	again.git("fetch", "--update-shallow", "fnhost")
}

func TestParseUpdates(t *testing.T) {
	one, zero := strings.Repeat("1", 40), strings.Repeat("0", 40)
	got, err := parseUpdates(zero + " " + one + " refs/heads/main\n" + one + " " + zero + " refs/tags/a b\n")
	want := []update{{zero, one, "refs/heads/main"}, {one, zero, "refs/tags/a b"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"\n", zero + " " + one + "\n", zero + " " + one + " main\n", "0 1 refs/heads/main\n", zero + " -n refs/heads/main", strings.ToUpper(strings.Repeat("a", 40)) + " " + one + " refs/heads/main"} {
		if got, err := parseUpdates(text); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func FuzzParseUpdates(f *testing.F) {
	f.Add(strings.Repeat("0", 40) + " " + strings.Repeat("a", 40) + " refs/heads/main\n")
	f.Add("x y z")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseUpdates(text)
		if err != nil {
			return
		}
		for _, u := range list {
			if !isID(u.old) || !isID(u.new) || strings.HasPrefix(u.new, "-") || !strings.HasPrefix(u.ref, "refs/") {
				t.Errorf("%+v", u)
			}
		}
		if u, err := choose(list); err == nil && u != nil && u.short() != "main" && u.short() != "master" {
			t.Errorf("%+v is deployed", u)
		}
	})
}

func TestPushOptions(t *testing.T) {
	for count, want := range map[string]int{"": 0, "x": 0, "-1": 0, "2": 2, "99999999": maxOptions} {
		if got := pushOptions(map[string]string{"GIT_PUSH_OPTION_COUNT": count, "GIT_PUSH_OPTION_1": "b"}); len(got) != want {
			t.Errorf("count %q: %d options, want %d", count, len(got), want)
		}
	}
}
