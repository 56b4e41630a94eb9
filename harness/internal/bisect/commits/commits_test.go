package commits_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kbuild"
)

func TestPrepare(t *testing.T) {
	w := newWorld(t)
	w.commit("0", kernelFiles("id-0"))
	w.commit("1", kernelFiles("id-1"))
	w.commit("2", kernelFiles(""))
	write(t, filepath.Join(w.repo, "init/main.c"), "what the user is at")
	before := []string{w.git("rev-parse", "HEAD"), w.git("status", "--porcelain")}
	s := w.source(t.TempDir())
	if len(s.Good()) != 1 || len(s.Candidates()) != 2 || s.Candidates()[1].ID != w.git("rev-parse", "2") {
		t.Fatalf("from %v: %v", s.Good(), s.Candidates())
	}
	kept := map[string]bisect.Kernel{}
	for _, tag := range []string{"2", "0", "1"} {
		kept[tag] = w.must(s, tag)
	}
	// Each kernel stays as it was made, though the next one was built over it.
	for tag, want := range map[string]string{"0": "image id-0", "1": "image id-1", "2": "image "} {
		if got := read(t, kept[tag].Arg); got != want {
			t.Errorf("%s: kernel %q, want %q", tag, got, want)
		}
	}
	for tag, k := range kept {
		if !strings.HasPrefix(k.Image, "sha256:") || k.ModulesDir != "" || k.Took <= 0 {
			t.Errorf("%s: %+v", tag, k)
		}
	}
	if kept["0"].Image == kept["1"].Image {
		t.Errorf("two kernels are one image, %s", kept["0"].Image)
	}
	if after := []string{w.git("rev-parse", "HEAD"), w.git("status", "--porcelain")}; after[0] != before[0] || after[1] != before[1] {
		t.Errorf("the user's checkout was %q, is %q", before, after)
	}
	if _, err := s.Prepare(t.Context(), bisect.Candidate{ID: "x", Name: "x"}, nil); err == nil || errors.As(err, new(*bisect.UnbuildableError)) {
		t.Errorf("a commit that is not in the range: %v", err)
	}
}

// What a commit is to blame for is a skip, and the next commit is built all the same.
func TestSkips(t *testing.T) {
	w := newWorld(t)
	good := kernelFiles("good")
	noKernel := good.with(nil)
	delete(noKernel, "Kconfig")
	w.commit("0", good)
	w.commit("broken", good.with(files{"compile": "echo 'lib/a.c:3:9: error: x undeclared' >&2; exit 2"}))
	w.commit("optionless", good.with(files{"options": ""}))
	w.commit("none", noKernel)
	w.commit("end", good)
	s := w.source(t.TempDir())
	s.Spec.Fragments = []kbuild.Fragment{{Name: "mine", Settings: []kbuild.Setting{{Name: "CONFIG_64BIT", Value: "y"}}}}

	// That one is no kernel tree says nothing of the host, which is looked at later.
	if bad := w.unbuildable(s, "none"); !strings.Contains(bad.Reason, "not a Linux kernel source tree") || bad.Log != "" {
		t.Errorf("no kernel tree: %+v", bad)
	}
	w.must(s, "end")
	bad := w.unbuildable(s, "broken")
	if bad.Reason != "lib/a.c:3:9: error: x undeclared" {
		t.Errorf("reason %q", bad.Reason)
	}
	w.must(s, "0")
	// The log stays, though the build after it has written another one.
	if log := read(t, bad.Log); !strings.Contains(log, "x undeclared") || filepath.Base(bad.Log) != bad.Candidate.Name+".log" {
		t.Errorf("log %s: %q", bad.Log, log)
	}
	if bad := w.unbuildable(s, "optionless"); !strings.Contains(bad.Reason, "CONFIG_64BIT=y is n") {
		t.Errorf("reason %q", bad.Reason)
	}
	w.must(s, "end")
}

// What the host is to blame for is no verdict, and the same commit builds when it
// is mended.
func TestHostFaultsStop(t *testing.T) {
	for _, tc := range []struct {
		name, prints string
		kind         error
	}{
		{"disk full", "as: lib/b.o: No space left on device", kbuild.ErrNoSpace},
		{"disk full after an error of the source's", "lib/a.c:3:9: error: x\nas: lib/b.o: No space left on device", kbuild.ErrNoSpace},
		{"memory", "gcc: fatal error: Killed signal terminated program cc1", kbuild.ErrMemory},
		{"a tool that is missing", "/bin/sh: 1: lz9: not found", kbuild.ErrToolchain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			mended := filepath.Join(t.TempDir(), "mended")
			w.commit("0", kernelFiles("0"))
			w.commit("1", kernelFiles("1").with(files{"printed": tc.prints + "\n", "compile": "[ -e " + mended + " ] && exit 0; cat printed >&2; exit 2"}))
			s := w.source(t.TempDir())
			_, err := w.prepare(s, "1")
			if !errors.Is(err, tc.kind) || errors.As(err, new(*bisect.UnbuildableError)) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want %v", err, tc.kind)
			}
			if left, err := os.ReadDir(filepath.Join(s.Dir, "kernels")); len(left) > 0 {
				t.Errorf("kept of a build that failed: %v, %v", left, err)
			}
			write(t, mended, "")
			w.must(s, "1")
		})
	}
}

// The toolchain is looked at before anything is built, and again until it is there.
// Nothing is left in the user's repository where nothing was built.
func TestNoCompiler(t *testing.T) {
	w := newWorld(t)
	asks := files{"Documentation/process/changes.rst": "GNU C                  13.1             gcc --version\n"}
	w.commit("0", kernelFiles("0").with(asks))
	w.commit("1", kernelFiles("1").with(asks))
	list := w.git("worktree", "list")
	s := w.source(t.TempDir())
	if err := os.Remove(filepath.Join(w.path, "gcc")); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"gcc: not installed", "gcc: version 12.2.0 is too old: this tree needs 13.1"} {
		_, err := w.prepare(s, "1")
		if !errors.Is(err, kbuild.ErrToolchain) || errors.As(err, new(*bisect.UnbuildableError)) || !strings.Contains(err.Error(), says) {
			t.Fatalf("error %v, want %q", err, says)
		}
		if now := w.git("worktree", "list"); now != list {
			t.Errorf("work trees %q, were %q", now, list)
		}
		w.install("gcc", "echo 'gcc (Debian) 12.2.0'")
	}
	w.install("gcc", "echo 'gcc (Debian) 13.1.0'")
	w.must(s, "1")
	// It is looked at once: what is built shows the rest.
	if err := os.Remove(filepath.Join(w.path, "bc")); err != nil {
		t.Fatal(err)
	}
	w.must(s, "0")
	// Another run on the same directory does not throw away what was built.
	again := w.source(s.Dir)
	if _, err := w.prepare(again, "1"); !errors.Is(err, kbuild.ErrToolchain) {
		t.Fatalf("no bc: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "tree", "Makefile")); err != nil {
		t.Error(err)
	}
}

// A kernel or a log that cannot be put aside is the host's fault, not a verdict.
func TestNothingCanBeKept(t *testing.T) {
	w := newWorld(t)
	w.commit("0", kernelFiles("0"))
	w.commit("broken", kernelFiles("1").with(files{"compile": "echo 'a.c:1:1: error: x' >&2; exit 2"}))
	w.commit("2", kernelFiles("2").with(files{"options": "CONFIG_64BIT\nCONFIG_MODULES\n", "modules/a.ko": "a"}))
	s := w.source(t.TempDir())
	gone := errors.New("no room for modules")
	s.Spec.Fragments = []kbuild.Fragment{{Name: "mine", Settings: []kbuild.Setting{{Name: "CONFIG_MODULES", Value: "y", Optional: true}}}}
	s.Resolve = func(context.Context, string) (*candidate.Candidate, error) { return nil, gone }
	if _, err := w.prepare(s, "2"); !errors.Is(err, gone) {
		t.Errorf("modules that are not kept: %v", err)
	}
	for _, name := range []string{"kernels", "logs"} {
		if err := os.RemoveAll(filepath.Join(s.Dir, name)); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(s.Dir, name), "in the way")
	}
	for tag, says := range map[string]string{"0": "keep kernel: ", "broken": "keep build log: "} {
		_, err := w.prepare(s, tag)
		if err == nil || errors.As(err, new(*bisect.UnbuildableError)) || !strings.HasPrefix(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error of the host's, %q", tag, err, says)
		}
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.commit("0", kernelFiles("0"))
	w.commit("1", kernelFiles("1"))
	s := w.source(t.TempDir())
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := s.Prepare(ctx, w.candidate(s, "1"), nil); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
	w.must(s, "1")
}

// Two kernels are the same only if their modules are too.
func TestModulesAreOfTheImage(t *testing.T) {
	w := newWorld(t)
	modular := kernelFiles("id").with(files{"options": "CONFIG_64BIT\nCONFIG_MODULES\n"})
	w.commit("none", kernelFiles("id"))
	w.commit("a", modular.with(files{"modules/a.ko": "1", "modules/b.ko": "2"}))
	w.commit("again", modular.with(files{"modules/a.ko": "1", "modules/b.ko": "2", "README": "x"}))
	w.commit("other", modular.with(files{"modules/a.ko": "1", "modules/b.ko": "3"}))
	w.commit("swapped", modular.with(files{"modules/a.ko": "2", "modules/b.ko": "1"}))
	w.commit("renamed", modular.with(files{"modules/a.ko": "1", "modules/c.ko": "2"}))
	w.commit("end", kernelFiles("id"))
	s := w.source(t.TempDir())
	s.Spec.Fragments = []kbuild.Fragment{{Name: "mine", Settings: []kbuild.Setting{{Name: "CONFIG_MODULES", Value: "y", Optional: true}}}}
	images := map[string]string{}
	for _, tag := range w.tags {
		k := w.must(s, tag)
		if (k.ModulesDir == "") != (tag == "none" || tag == "end") {
			t.Errorf("%s: modules in %q", tag, k.ModulesDir)
		}
		images[tag] = k.Image
	}
	if images["a"] != images["again"] || images["none"] != images["end"] {
		t.Errorf("the same kernel and modules, and images %v", images)
	}
	seen := map[string]string{}
	for _, tag := range []string{"none", "a", "other", "swapped", "renamed"} {
		if other, ok := seen[images[tag]]; ok {
			t.Errorf("%s and %s are one image", tag, other)
		}
		seen[images[tag]] = tag
	}
}

func TestTidy(t *testing.T) {
	w := newWorld(t)
	for _, tag := range []string{"0", "1", "2"} {
		w.commit(tag, kernelFiles(tag))
	}
	w.commit("broken", kernelFiles("3").with(files{"compile": "echo 'a.c:1:1: error: x' >&2; exit 2"}))
	list := w.git("worktree", "list")
	s := w.source(t.TempDir())
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatalf("nothing to tidy: %v", err)
	}
	one, two := w.must(s, "1"), w.must(s, "2")
	bad := w.unbuildable(s, "broken")
	write(t, filepath.Join(s.Dir, "journal.jsonl"), "x")
	// The run that tidies up need not be the one that built: that one was killed.
	later := w.source(s.Dir)
	if err := later.Tidy(t.Context(), w.git("rev-parse", "1")); err != nil {
		t.Fatal(err)
	}
	if now := w.git("worktree", "list"); now != list {
		t.Errorf("work trees %q, were %q", now, list)
	}
	for path, stays := range map[string]bool{
		one.Arg: true, two.Arg: false, bad.Log: true, filepath.Join(s.Dir, "journal.jsonl"): true,
		filepath.Join(s.Dir, "tree"): false, filepath.Join(s.Dir, "build"): false,
	} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s stays: %v, want %v", path, err, stays)
		}
	}
	if err := later.Tidy(t.Context()); err != nil {
		t.Errorf("tidied twice: %v", err)
	}
	w.must(w.source(s.Dir), "2")
}
