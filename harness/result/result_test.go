package result_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/schematest"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

var document = sync.OnceValue(func() (doc any) {
	if err := json.Unmarshal([]byte(result.JSONSchema()), &doc); err != nil {
		panic(err)
	}
	return doc
})

// full returns a Result in which every field there is holds something.
func full(t *testing.T) *result.Result {
	t.Helper()
	var r result.Result
	fill(t, reflect.ValueOf(&r).Elem())
	r.Schema = result.Schema
	return &r
}

func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 11, 23, 12, 0, 0, 123, time.UTC)))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"guest": true}`)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(t, e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), e)
	case reflect.String:
		v.SetString("word \x1b <&> \u202e")
		if word, ok := schematest.Word(document(), v.Type()); ok {
			v.SetString(word)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 << 40)
	case reflect.Uint64:
		v.SetUint(1<<64 - 1)
	case reflect.Float64:
		v.SetFloat(1.25)
	default:
		t.Fatalf("a field of kind %s: teach the test", v.Kind())
	}
}

func TestRoundTrip(t *testing.T) {
	for name, r := range map[string]*result.Result{"full": full(t), "empty": {Schema: result.Schema}} {
		r.Dir = t.TempDir()
		if err := r.Write("result.json"); err != nil {
			t.Fatal(err)
		}
		got, err := result.Read(filepath.Join(r.Dir, "result.json"))
		if err != nil {
			t.Fatal(err)
		}
		same := cmp.Comparer(func(a, b json.RawMessage) bool { // written indented
			var x, y bytes.Buffer
			return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
		})
		if name == "empty" {
			same = nil
		}
		var opts []cmp.Option
		if same != nil {
			opts = append(opts, same)
		}
		if d := cmp.Diff(r, got, opts...); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		left, err := os.ReadDir(r.Dir)
		if err != nil || len(left) != 1 {
			t.Errorf("%s: %v beside the result, %v", name, left, err)
		}
	}
}

func TestWriteIsWholeOrNotAtAll(t *testing.T) {
	r := full(t)
	r.Dir = t.TempDir()
	target := filepath.Join(r.Dir, "result.json")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.Write("result.json"); err == nil {
		t.Error("wrote over a directory")
	}
	if left, err := os.ReadDir(r.Dir); err != nil || len(left) != 1 {
		t.Errorf("%v left behind, %v", left, err)
	}
	r.Dir = filepath.Join(r.Dir, "nowhere")
	if err := r.Write("result.json"); err == nil || !strings.Contains(err.Error(), r.Dir) {
		t.Errorf("error %v, want one that names %s", err, r.Dir)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, content, err string }{
		{"future field", `{"schema":"unwedge/result/1","outcome":"booted","new":{"a":[1]},"host":{"new":1}}`, ""},
		{"future schema", `{"schema":"unwedge/result/2"}`, `schema "unwedge/result/2", this version knows "unwedge/result/1"`},
		{"no schema", `{}`, `schema ""`},
		{"empty", ``, "unexpected end of JSON input"},
		{"torn", `{"schema":"unwedge/res`, "unexpected end of JSON input"},
		{"a list", `[]`, "cannot unmarshal array"},
		{"wrong type", `{"schema":"unwedge/result/1","resets":"x"}`, "cannot unmarshal string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-"))
			if err := os.WriteFile(path, []byte(tt.content), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := result.Read(path)
			if tt.err == "" {
				if err != nil || r.Outcome != "booted" {
					t.Errorf("%+v, %v", r, err)
				}
				return
			}
			if r != nil || err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path) {
				t.Errorf("%+v, error %v, want %q and the path", r, err, tt.err)
			}
		})
	}
	if _, err := result.Read(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("no error for a file that is not there")
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 65<<20); err != nil { // sparse
		t.Fatal(err)
	}
	if _, err := result.Read(huge); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("error %v", err)
	}
}

func TestSchemaKnowsEveryField(t *testing.T) {
	doc := schematest.Document(t, result.JSONSchema())
	schematest.Forbid(doc)
	if err := schematest.Compile(t, doc).Validate(schematest.Encode(t, full(t))); err != nil {
		t.Errorf("%v\n(a new field: go generate ./harness/result)", err)
	}
}

// The strict schema must be able to fail: without one field it does.
func TestSchemaTestCanFail(t *testing.T) {
	for _, path := range [][]string{{"properties", "why"}, {"$defs", "result-Stall", "properties", "wake_ns"}, {"$defs", "result-Link", "properties", "func"}} {
		doc := schematest.Document(t, result.JSONSchema())
		m := doc.(map[string]any)
		for _, k := range path[:len(path)-1] {
			m = m[k].(map[string]any)
		}
		delete(m, path[len(path)-1])
		schematest.Forbid(doc)
		if schematest.Compile(t, doc).Validate(schematest.Encode(t, full(t))) == nil {
			t.Errorf("a schema without %v accepts a full Result", path)
		}
	}
}

func TestSchema(t *testing.T) {
	s := schematest.Compile(t, schematest.Document(t, result.JSONSchema()))
	empty := &result.Result{ // what is in every Result
		Schema: result.Schema, Outcome: scenarios.Booted, Host: result.Host{Accel: result.TCG, Args: []string{}}, Files: map[string]string{},
		Scenario: scenarios.Scenario{Arch: "x86_64", Entropy: scenarios.None, Initramfs: scenarios.Tiny, Root: scenarios.NoRoot},
	}
	for name, r := range map[string]*result.Result{"full": full(t), "empty": empty} {
		if err := s.Validate(schematest.Encode(t, r)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	future := schematest.Encode(t, full(t)).(map[string]any)
	future["added_later"] = "x"
	if err := s.Validate(future); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
	for name, spoil := range map[string]func(map[string]any){
		"another schema":  func(m map[string]any) { m["schema"] = "unwedge/result/2" },
		"no such outcome": func(m map[string]any) { m["outcome"] = "fine" },
		"no outcome":      func(m map[string]any) { delete(m, "outcome") },
		"wrong type":      func(m map[string]any) { m["resets"] = "x" },
		"no time":         func(m map[string]any) { m["times"].(map[string]any)["started"] = "yesterday" },
	} {
		m := schematest.Encode(t, full(t)).(map[string]any)
		spoil(m)
		if s.Validate(m) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// Nothing is described that is not there, and all is described.
func TestSchemaDescribes(t *testing.T) {
	doc := schematest.Document(t, result.JSONSchema()).(map[string]any)
	objects := map[string]any{"result": doc}
	for name, d := range doc["$defs"].(map[string]any) {
		objects[name] = d
	}
	text, err := json.Marshal(full(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range objects {
		fields, _ := o.(map[string]any)["properties"].(map[string]any) // none in an enum
		for field, p := range fields {
			if d, _ := p.(map[string]any)["description"].(string); d == "" {
				t.Errorf("%s.%s has no description", name, field)
			}
			if !bytes.Contains(text, []byte(`"`+field+`":`)) {
				t.Errorf("%s.%s is described and no Result has it", name, field)
			}
		}
	}
}
