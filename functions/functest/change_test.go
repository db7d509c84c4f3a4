package functest_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
	"github.com/fnhost/fnhost/kv"
)

func TestChangesOfKeys(t *testing.T) {
	var host functest.Host
	put := kv.Entry{Key: "user.1", Value: []byte(`"x"`), Revision: 7, Created: time.Unix(3, 0), Expires: time.Unix(9, 0)}
	gone := kv.Entry{Key: "user.1", Revision: 8, Created: time.Unix(4, 0), Op: kv.OpExpire}
	var got []functions.Event
	for _, e := range []kv.Entry{put, gone} {
		if err := host.Send(t.Context(), func(e functions.Event) { got = append(got, e) }, functions.Event{Bucket: "b", Entry: &e}); err != nil {
			t.Fatal(err)
		}
		last := got[len(got)-1]
		if !reflect.DeepEqual(*last.Entry, e) || last.Bucket != "b" || last.Subject != "$KV.b.user.1" || last.Stream != "KV_b" || last.Sequence != e.Revision || !last.Time.Equal(e.Created) {
			t.Errorf("got %+v, %+v, want %+v", last, last.Entry, e)
		}
	}
	if string(got[0].Data) != `"x"` {
		t.Errorf("the data are %q", got[0].Data)
	}
	text := ""
	typed := func(s struct{ Name string }) { text = s.Name }
	put.Value = []byte(`{"Name": "Ada"}`)
	if err := host.Send(t.Context(), typed, functions.Event{Bucket: "b", Entry: &put}); err != nil || text != "Ada" {
		t.Errorf("%q, %v", text, err)
	}
	if err := host.Send(t.Context(), typed, functions.Event{Bucket: "b", Entry: &gone}); err == nil {
		t.Error("an expiry has no value")
	}
	n := 0
	batch := func(list []functions.Event) { n = len(list); got = list }
	if err := host.SendBatch(t.Context(), batch, []functions.Event{{Bucket: "b", Entry: &put}, {Bucket: "b", Entry: &gone}}); err != nil || n != 2 || got[1].Entry.Op != kv.OpExpire {
		t.Errorf("%d, %v", n, err)
	}
}
