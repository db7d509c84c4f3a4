package admin

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestBackupThatCannotGoOnSaysWhy(t *testing.T) {
	client, _, _ := serve(t)
	body, err := client.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if string(data) != "the begin" || err == nil || err.Error() != "the disk is full" {
		t.Errorf("got %q and %v", data, err)
	}
}

func TestBackupIsDescribedAsBytes(t *testing.T) {
	client, _, _ := serve(t)
	resp, err := client.do(t.Context(), http.MethodGet, "/v1/openapi.json", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"content":{"application/x-tar":{}}`; !strings.Contains(string(text), want) {
		t.Errorf("no %s in the description", want)
	}
}
