package schematest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/stage"
)

var update = flag.Bool("update", false, "write the schemas anew")

// The schemas are made from the Go types: a description is the comment, an enum
// the constants of a string type.
func TestSchemasAreCurrent(t *testing.T) {
	for file, of := range map[string]struct {
		document any
		schema   string
	}{
		"result/schema.json":  {result.Result{}, result.Schema},
		"inspect/schema.json": {inspect.Report{}, inspect.Schema},
		"bisect/schema.json":  {bisect.Report{}, bisect.Schema},
	} {
		got := generate(t, reflect.TypeOf(of.document), of.schema)
		file = filepath.Join(root, "harness", file)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s is out of date: go generate ./harness/result\n%s", file, d)
		}
	}
}

const (
	module = "github.com/unwedge/unwedge"
	root   = "../../.."
)

// open are string types with constants that may hold other words: the guest's.
var open = map[reflect.Type]bool{reflect.TypeFor[stage.Stage](): true}

func generate(t *testing.T, of reflect.Type, schema string) []byte {
	t.Helper()
	g := generator{t: t, comments: &jsonschema.Reflector{}, read: map[string]map[string][]constant{}, enums: jsonschema.Definitions{}}
	r := &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, AllowAdditionalProperties: true,
		Namer: name, Mapper: g.plain, LookupComment: g.comment,
	}
	s := r.ReflectFromType(of)
	for n, e := range g.enums {
		s.Definitions[n] = e
	}
	s.Title = schema
	word, _ := s.Properties.Get("schema")
	word.Const = schema
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// name is package-Type for the project's own types.
func name(t reflect.Type) string {
	if !strings.HasPrefix(t.PkgPath(), module) || t.Name() == "" {
		return ""
	}
	return path.Base(t.PkgPath()) + "-" + t.Name()
}

type constant struct{ value, comment string }

type generator struct {
	t        *testing.T
	comments *jsonschema.Reflector            // for its CommentMap
	read     map[string]map[string][]constant // by package and type
	enums    jsonschema.Definitions
}

// plain maps what jsonschema does not: enums, and numbers that are not negative.
func (g generator) plain(t reflect.Type) *jsonschema.Schema {
	switch t.Kind() {
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		return &jsonschema.Schema{Type: "integer", Minimum: "0"}
	case reflect.String:
	default:
		return nil
	}
	n := name(t)
	if n == "" || open[t] {
		return nil
	}
	consts := g.constants(t.PkgPath())[t.Name()]
	if len(consts) == 0 {
		return nil
	}
	e := &jsonschema.Schema{Type: "string", Description: g.comment(t, "")}
	for _, c := range consts {
		e.Enum = append(e.Enum, c.value)
		if c.comment != "" {
			e.Description += "\n" + c.value + ": " + c.comment
		}
	}
	g.enums[n] = e
	return &jsonschema.Schema{Ref: "#/$defs/" + n}
}

// comment is that of a type, or of a field, without the name that Go begins it with.
func (g generator) comment(t reflect.Type, field string) string {
	if !strings.HasPrefix(t.PkgPath(), module) {
		return ""
	}
	g.constants(t.PkgPath())
	key, subject := t.PkgPath()+"."+t.Name(), t.Name()
	if field != "" {
		key, subject = key+"."+field, field
	}
	return sentence(g.comments.CommentMap[key], subject)
}

func sentence(comment, subject string) string {
	s := strings.Join(strings.Fields(comment), " ")
	s = regexp.MustCompile(`^`+subject+`(:| is| are|) `).ReplaceAllString(s, "")
	s = regexp.MustCompile(`\bnil\b`).ReplaceAllString(s, "absent")
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// constants reads a package: its comments, and the constants of its string types.
func (g generator) constants(pkg string) map[string][]constant {
	if c, ok := g.read[pkg]; ok {
		return c
	}
	types := map[string][]constant{}
	g.read[pkg] = types
	dir := filepath.Join(root, strings.TrimPrefix(pkg, module))
	if err := g.comments.AddGoComments(path.Join(module, "harness/internal/schematest"), dir, jsonschema.WithFullComment()); err != nil {
		g.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, d := range f.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.CONST {
				continue
			}
			for _, s := range d.Specs {
				s := s.(*ast.ValueSpec)
				of, named := s.Type.(*ast.Ident)
				if !named || len(s.Values) != 1 {
					continue
				}
				lit, ok := s.Values[0].(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				value, err := strconv.Unquote(lit.Value)
				if err != nil {
					g.t.Fatal(err)
				}
				types[of.Name] = append(types[of.Name], constant{value, sentence(s.Doc.Text()+s.Comment.Text(), s.Names[0].Name)})
			}
		}
	}
	return types
}
