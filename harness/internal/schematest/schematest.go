// Package schematest holds documents against their JSON Schema in tests: every
// field that a program writes must be described, and a schema must be able to
// refuse.
package schematest

import (
	"bytes"
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document reads JSON as the validator wants it.
func Document(t *testing.T, text string) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Encode is v as a Document.
func Encode(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Compile makes a schema of a Document.
func Compile(t *testing.T, doc any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Strict is the schema that also refuses every property which it does not name.
func Strict(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	doc := Document(t, text)
	Forbid(doc)
	return Compile(t, doc)
}

// Word is a word that a schema's Document allows for a string type, if it lists
// the type's words.
func Word(doc any, t reflect.Type) (word string, ok bool) {
	defs, _ := doc.(map[string]any)["$defs"].(map[string]any)
	def, _ := defs[path.Base(t.PkgPath())+"-"+t.Name()].(map[string]any)
	words, _ := def["enum"].([]any)
	if len(words) == 0 {
		return "", false
	}
	return words[0].(string), true
}

// Forbid makes a schema's Document refuse every property that it does not name.
func Forbid(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"]; ok {
			v["additionalProperties"] = false
		}
		for _, e := range v {
			Forbid(e)
		}
	case []any:
		for _, e := range v {
			Forbid(e)
		}
	}
}
