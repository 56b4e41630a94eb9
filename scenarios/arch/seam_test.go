package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// names are an architecture's in the kernel's, Debian's and Go's spelling, and
// consts what this package calls it.
func names() (names []string, consts map[string]bool) {
	for _, a := range arch.All() {
		names = append(names, string(a), a.Facts().Debian, a.Facts().GOARCH, a.Facts().Make)
	}
	return names, map[string]bool{"X86_64": true, "AArch64": true}
}

// ofArchitecture says whether a file may ask which architecture it has: it is
// itself what one of them is known by.
func ofArchitecture(file string) bool {
	for _, dir := range []string{"scenarios/arch/", "harness/internal/isa/"} {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return strings.HasPrefix(file, "images/") && slices.ContainsFunc(arch.All(), func(a arch.Arch) bool {
		return filepath.Base(file) == string(a)+".go" || filepath.Base(filepath.Dir(file)) == string(a)
	})
}

// TestNobodyAsksForTheName: code that compares with an architecture's name, switches
// on it or keys a map by it makes each new architecture a hunt through the tree. It
// asks for a fact, or has a table whose rows know their architecture.
func TestNobodyAsksForTheName(t *testing.T) {
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		file, err := filepath.Rel(root, path)
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || ofArchitecture(file) {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, x := range asked(f) {
			t.Errorf("%s:%d: it asks for an architecture by name: let the table answer (scenarios/arch, harness/internal/isa, or a file of its own in images)", file, set.Position(x.Pos()).Line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asked finds the names that a file compares with, switches on, or keys a map by.
func asked(f *ast.File) []ast.Expr {
	var out []ast.Expr
	check := func(es ...ast.Expr) {
		for _, e := range es {
			if isName(e) {
				out = append(out, e)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				check(n.X, n.Y)
			}
		case *ast.CaseClause:
			check(n.List...)
		case *ast.KeyValueExpr:
			check(n.Key)
		case *ast.IndexExpr:
			check(n.Index)
		}
		return true
	})
	return out
}

var spelled, consts = names()

func isName(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return isName(e.X)
	case *ast.SelectorExpr:
		return consts[e.Sel.Name]
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return err == nil && e.Kind == token.STRING && slices.Contains(spelled, s)
	case *ast.CallExpr: // a conversion, such as string(arch.X86_64)
		return len(e.Args) == 1 && isName(e.Args[0])
	}
	return false
}

func TestSeamSeesWhatItForbids(t *testing.T) {
	for body, want := range map[string]int{
		`_ = a == arch.X86_64`:                      1,
		`if "arm64" != s { return }`:                1,
		`_ = string(arch.AArch64) == s`:             1,
		`switch a { case arch.X86_64, "aarch64": }`: 2,
		`_ = map[arch.Arch]int{arch.AArch64: 1}`:    1,
		`_ = m["amd64"]`:                            1,
		`_ = a.Facts().HasNMI; f(arch.X86_64)`:      0,
		`_ = machine{arch: arch.X86_64}`:            0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", fmt.Sprintf("package x\nfunc g() { %s }", body), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := asked(f); len(got) != want {
			t.Errorf("%s: %d found, want %d", body, len(got), want)
		}
	}
}
