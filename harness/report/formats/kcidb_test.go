package formats_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/unwedge/unwedge/harness/report/kcidb"
	"github.com/unwedge/unwedge/harness/report/summary"
)

// kcidbSchema is KernelCI's JSON Schema of version 5.3, which is not part of this
// repository: UNWEDGE_KCIDB_SCHEMA names the file.
func kcidbSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	path := os.Getenv("UNWEDGE_KCIDB_SCHEMA")
	if path == "" {
		t.Skip("set UNWEDGE_KCIDB_SCHEMA to KernelCI's schema, version 5.3 (kcidb-io: `kcidb-schema 5 3`)")
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestKCIDBSchema(t *testing.T) {
	schema := kcidbSchema(t)
	for _, o := range []kcidb.Options{options.KCIDB, {}} {
		var b bytes.Buffer
		if err := kcidb.Write(&b, all(), o); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Error(err)
		}
	}
}

// What of the schema can be said without it.
func TestKCIDBRules(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(write(t, "kcidb", all())), &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]map[string]bool{}
	for _, kind := range []string{"checkouts", "builds", "tests", "issues", "incidents"} {
		ids[kind] = map[string]bool{}
		for _, o := range doc[kind].([]any) {
			id := o.(map[string]any)["id"].(string)
			if !strings.HasPrefix(id, "demo:") || ids[kind][id] {
				t.Errorf("%s: id %q is not the origin's, or there twice", kind, id)
			}
			ids[kind][id] = true
		}
	}
	refs := map[string]string{"checkout_id": "checkouts", "build_id": "builds", "issue_id": "issues", "test_id": "tests"}
	statuses := map[string]int{}
	for _, kind := range []string{"builds", "tests", "incidents"} {
		for _, o := range doc[kind].([]any) {
			for field, value := range o.(map[string]any) {
				if to := refs[field]; to != "" && !ids[to][value.(string)] {
					t.Errorf("%s: %s leads nowhere", kind, field)
				}
				if field == "log_excerpt" && len([]rune(value.(string))) > 16384 {
					t.Error("a log_excerpt is too long")
				}
				if kind == "tests" && field == "status" {
					statuses[value.(string)]++
				}
			}
		}
	}
	want := map[string]int{"PASS": 2, "FAIL": 7, "ERROR": 1, "SKIP": 1, "MISS": 1}
	for word, n := range want {
		if statuses[word] != n {
			t.Errorf("%s: %d tests, want %d", word, statuses[word], n)
		}
	}
	if strings.Contains(write(t, "kcidb", all()), ": null") {
		t.Error("a null")
	}
	// two boots with the same failure are one issue and two incidents
	if issues, incidents := len(ids["issues"]), len(ids["incidents"]); incidents != 8 || issues != 7 {
		t.Errorf("%d issues, %d incidents", issues, incidents)
	}
}

// fake is a server that takes what KernelCI's does: a token for each origin, documents
// that fit the schema, and the same ID as often as it is sent.
type fake struct {
	schema *jsonschema.Schema
	tests  map[string]int
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/submit" {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer sesame" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b, _ := io.ReadAll(r.Body) // the server closes what is torn
	var d kcidb.Document
	if err := json.Unmarshal(b, &d); err != nil || d.Version.Major != 5 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if f.schema != nil {
		v, _ := jsonschema.UnmarshalJSON(bytes.NewReader(b)) // it is JSON
		if err := f.schema.Validate(v); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"status":"error","message":"does not fit"}`))
			return
		}
	}
	for _, x := range d.Tests {
		f.tests[x.ID]++
	}
	_, _ = w.Write([]byte(`{"id":"submission-1","status":"ok","message":"File received"}`))
}

func TestKCIDBSubmit(t *testing.T) {
	f := &fake{tests: map[string]int{}}
	if os.Getenv("UNWEDGE_KCIDB_SCHEMA") != "" {
		f.schema = kcidbSchema(t)
	}
	server := httptest.NewServer(f)
	defer server.Close()
	s := kcidb.Server{URL: server.URL, Token: "sesame", Client: server.Client()}
	d := kcidb.Of(all(), options.KCIDB)
	for range 2 {
		id, err := s.Submit(t.Context(), d)
		if err != nil || id != "submission-1" {
			t.Fatalf("submit: %q, %v", id, err)
		}
	}
	if len(f.tests) != len(d.Tests) {
		t.Errorf("%d tests arrived as %d", len(d.Tests), len(f.tests))
	}
	for id, n := range f.tests {
		if n != 2 {
			t.Errorf("test %s arrived %d times", id, n)
		}
	}
}

func TestKCIDBSubmitRefused(t *testing.T) {
	server := httptest.NewServer(&fake{tests: map[string]int{}})
	defer server.Close()
	for name, s := range map[string]kcidb.Server{
		"a wrong token":      {URL: server.URL, Token: "abracadabra"},
		"no token":           {URL: server.URL},
		"no https":           {URL: "http://kcidb.example.org", Token: "abracadabra"},
		"no URL":             {Token: "abracadabra"},
		"a path that is not": {URL: server.URL + "/elsewhere", Token: "abracadabra"},
	} {
		_, err := s.Submit(t.Context(), kcidb.Document{Version: kcidb.Version{Major: 5, Minor: 3}})
		if err == nil || strings.Contains(err.Error(), "abracadabra") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "a wrong token" && !errors.Is(err, kcidb.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKCIDBOptions(t *testing.T) {
	for _, o := range []kcidb.Options{{Origin: "My Lab"}, {Commit: "abcdef12"}, {GitURL: "git://git.example.org"}, {LogURL: "/var/log"}} {
		if err := kcidb.Write(io.Discard, summary.Summary{}, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
