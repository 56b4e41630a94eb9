package kimage_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
)

const source = `
typedef struct { unsigned long next, prev; } list_t;
struct nowhere;
struct inner { int a; list_t list; };
struct task_struct {
	unsigned long flags;
	union { int state; struct { int low; int high; }; };
	const volatile struct inner in;
	char comm[16];
	struct nowhere *nowhere;
};
struct task_struct *one;
struct other *two;
`

// compile compiles C with the host's gcc.
func compile(t *testing.T, text string, flags ...string) []byte {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "types.c"), filepath.Join(dir, "types.o")
	if err := os.WriteFile(in, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), gcc, append(flags, "-c", "-o", out, in)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The offsets are those of the System V ABI.
func TestTypesOfObjects(t *testing.T) {
	for _, version := range []string{"-gdwarf-4", "-gdwarf-5"} {
		types, err := kimage.FromObjects([][]byte{compile(t, "struct other { int x; long y; } *o;", version), compile(t, source, version)})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []struct {
			path []string
			want kimage.Field
		}{
			{nil, kimage.Field{Size: 64}},
			{[]string{"flags"}, kimage.Field{Off: 0, Size: 8}},
			{[]string{"state"}, kimage.Field{Off: 8, Size: 4}},
			{[]string{"high"}, kimage.Field{Off: 12, Size: 4}},
			{[]string{"in", "a"}, kimage.Field{Off: 16, Size: 4}},
			{[]string{"in", "list"}, kimage.Field{Off: 24, Size: 16}},
			{[]string{"in", "list", "prev"}, kimage.Field{Off: 32, Size: 8}},
			{[]string{"comm"}, kimage.Field{Off: 40, Size: 16}},
			{[]string{"nowhere"}, kimage.Field{Off: 56, Size: 8}},
		} {
			if got, err := types.Field("task_struct", w.path...); err != nil || got != w.want {
				t.Errorf("%s: task_struct %v: %+v, %v; want %+v", version, w.path, got, err, w.want)
			}
		}
		if f, err := types.Field("other", "y"); err != nil || f.Off != 8 {
			t.Errorf("%s: of the other object: %+v, %v", version, f, err)
		}
		if _, err := types.Field("nowhere"); !errors.Is(err, kimage.ErrNoType) {
			t.Errorf("%s: a structure that is only declared: %v", version, err)
		}
		if types.Source != kimage.Compiled {
			t.Errorf("source %q", types.Source)
		}
	}
}

func TestObjectsWithoutTypes(t *testing.T) {
	if types, err := kimage.FromObjects([][]byte{compile(t, source, "-g0")}); types != nil || !errors.Is(err, kimage.ErrNoDWARF) {
		t.Errorf("%v, %v", types, err)
	}
	if types, err := kimage.FromObjects([][]byte{[]byte("no ELF file")}); types != nil || err == nil {
		t.Errorf("%v, %v", types, err)
	}
	if types, err := kimage.FromObjects(nil); types != nil || err == nil {
		t.Errorf("%v, %v", types, err)
	}
}
