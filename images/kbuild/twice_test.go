package kbuild

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTwice(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", "mkdir -p $O/certs; [ -e $O/certs/signing_key.pem ] || date +%N > $O/certs/signing_key.pem")
	twice, err := BuildTwice(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(twice.Differences) != 0 || twice.Elapsed <= 0 {
		t.Errorf("two equal builds: %+v", twice)
	}
	if _, err := os.Stat(s.Output + secondSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second build is still there: %v", err)
	}
	if _, err := BuildTwice(t.Context(), s); err == nil || !strings.Contains(err.Error(), "holds an earlier build") {
		t.Errorf("in a directory that is used: %v", err)
	}
}

func TestTwiceSaysWhatDiffers(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", "")
	makefile := strings.ReplaceAll(fakeMakefile, ": > $(O)/arch/x86/boot/bzImage", "echo $(O) > $(O)/arch/x86/boot/bzImage")
	makefile = strings.ReplaceAll(makefile, ": > $(O)/arch/arm64/boot/Image", "echo $(O) > $(O)/arch/arm64/boot/Image")
	if err := os.WriteFile(filepath.Join(s.Source, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	twice, err := BuildTwice(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(twice.Differences) != 1 || twice.Differences[0].File != images[s.Arch].path || !strings.Contains(twice.Differences[0].What, "from byte 0x") {
		t.Errorf("differences %+v, want the boot image", twice.Differences)
	}
	if _, err := os.Stat(s.Output + secondSuffix); err != nil {
		t.Errorf("the second build is not kept to be looked at: %v", err)
	}
}

// compileELF links a program of one source text.
func compileELF(t *testing.T, dir, text string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	src := filepath.Join(dir, "a.c")
	if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "gcc", "-nostdlib", "-static", "-Wl,-estart,--build-id=none", "-o", filepath.Join(dir, "vmlinux"), src).CombinedOutput()
	if err != nil {
		t.Skipf("gcc: %s", out)
	}
}

func TestCompareELF(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	const text = "const char banner[] = \"Linux version WHEN\"; int start(void) { return 0; }"
	compileELF(t, a, text)
	compileELF(t, b, text)
	if got, err := compareELF(a, b, "vmlinux"); err != nil || len(got) != 0 {
		t.Errorf("equal files differ: %+v, %v", got, err)
	}
	compileELF(t, b, strings.Replace(text, "WHEN", "THEN", 1))
	got, err := compareELF(a, b, "vmlinux")
	if err != nil || len(got) != 1 || got[0].Section != ".rodata" {
		t.Fatalf("differences %+v, %v", got, err)
	}
	if want := `in banner+0xe, "Linux version WHEN" in the first build`; !strings.Contains(got[0].What, want) {
		t.Errorf("difference %q, want %q in it", got[0].What, want)
	}
	compileELF(t, b, text+" int more = 3;")
	got, err = compareELF(a, b, "vmlinux")
	if err != nil || len(got) == 0 || !strings.Contains(got[len(got)-1].What, "only the second") {
		t.Errorf("a section more: %+v, %v", got, err)
	}
}

func TestCompareReaders(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		at   int64
		same bool
	}{{"", "", 0, true}, {"abc", "abc", 3, true}, {"abc", "abd", 2, false}, {"abc", "ab", 2, false}, {"", "a", 0, false}} {
		at, same, err := compareReaders(strings.NewReader(tc.a), strings.NewReader(tc.b))
		if at != tc.at || same != tc.same || err != nil {
			t.Errorf("%q and %q: %d, %v, %v", tc.a, tc.b, at, same, err)
		}
	}
}
