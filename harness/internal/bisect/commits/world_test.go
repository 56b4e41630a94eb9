package commits_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/commits"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// makefile is a kernel tree's as far as kbuild drives it: a build does what the
// file "compile" says, and its kernel and modules are files of the tree. Options
// that the file "options" does not list are dropped.
const makefile = `
defconfig:
	@printf 'CONFIG_64BIT=y\n' > $(O)/.config
olddefconfig:
	@grep -w -F -f options $(O)/.config > $(O)/.config.new; mv $(O)/.config.new $(O)/.config
%Image:
	@mkdir -p $(O)/arch/x86/boot $(O)/arch/arm64/boot $(O)/include/config
	@echo 6.1.0 > $(O)/include/config/kernel.release
	@sh ./compile
	@cp image $(O)/arch/x86/boot/bzImage; cp image $(O)/arch/arm64/boot/Image; cp elf $(O)/vmlinux; rm -f $(O)/modules.order
modules:
	@rm -rf $(O)/mods; cp -r modules $(O)/mods; echo kernel/a.o > $(O)/modules.order
.PHONY: defconfig olddefconfig modules
`

// files are those of a commit, by path.
type files map[string]string

// kernelFiles are a kernel tree's whose build makes an image with that build ID,
// "" for none.
func kernelFiles(id string) files {
	return files{
		"Makefile": makefile, "Kconfig": "", "scripts/kconfig/conf": "", "init/main.c": "", "options": "CONFIG_64BIT\n",
		"compile": "", "image": "image " + id, "elf": vmlinux(id),
	}
}

func (f files) with(more files) files {
	out := maps.Clone(f)
	maps.Copy(out, more)
	return out
}

// vmlinux is an ELF file, elf(5), with nothing but a GNU build ID.
func vmlinux(id string) string {
	var note, names bytes.Buffer
	if id != "" {
		put(&note, uint32(4), uint32(len(id)), uint32(3), []byte("GNU\x00"), []byte(id), make([]byte, -len(id)&3))
	}
	names.WriteString("\x00.notes\x00.shstrtab\x00")
	const header, entry = 64, 64
	at := uint64(header)
	var b bytes.Buffer
	put(&b, []byte("\x7fELF\x02\x01\x01"), make([]byte, 9), uint16(2), uint16(62), uint32(1), uint64(0), uint64(0),
		at+uint64(note.Len()+names.Len()), uint32(0), uint16(header), uint16(0), uint16(0), uint16(entry), uint16(3), uint16(2))
	b.Write(note.Bytes())
	b.Write(names.Bytes())
	section := func(name, kind uint32, from uint64, size int) {
		put(&b, name, kind, uint64(0), uint64(0), from, uint64(size), uint32(0), uint32(0), uint64(1), uint64(0))
	}
	section(0, 0, 0, 0)
	section(1, 7, at, note.Len())
	section(8, 3, at+uint64(note.Len()), names.Len())
	return b.String()
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err) // a bytes.Buffer takes everything
		}
	}
}

// world is a user's repository of kernels, and a host that can build them.
type world struct {
	t    *testing.T
	repo string
	path string // the whole of PATH: a directory of programs
	real string // PATH as it was, for the scripts that git is made of
	tags []string
}

// programs of the host that the build, git and this test run.
var programs = []string{"git", "make", "sh", "mkdir", "cp", "rm", "mv", "grep", "cat", "sleep", "env"}

func newWorld(t *testing.T) *world {
	t.Helper()
	if arch.Host() == "" {
		t.Skip("no kernel of this host's architecture is built")
	}
	w := &world{t: t, repo: t.TempDir(), path: t.TempDir(), real: os.Getenv("PATH")}
	for _, p := range programs {
		real, err := exec.LookPath(p)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(real, filepath.Join(w.path, p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"gcc", "flex", "bison", "bc", "awk", "cmp", "find"} {
		w.install(p, "exit 0")
	}
	w.install("ld", `[ "$1" = -V ] && echo " Supported emulations: elf_x86_64 elf_i386 aarch64elf"; exit 0`)
	t.Setenv("PATH", w.path)
	w.git("init", "-q", "-b", "main")
	return w
}

// install puts a shell script into PATH.
func (w *world) install(name, script string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", w.repo}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+w.real, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit adds a commit with exactly these files, and a tag of that name.
func (w *world) commit(name string, f files) {
	w.t.Helper()
	if len(w.tags) > 0 {
		w.git("rm", "-qrf", ".")
	}
	for path, text := range f {
		write(w.t, filepath.Join(w.repo, path), text)
	}
	w.git("add", "-A")
	w.git("commit", "-q", "--allow-empty", "-m", "change "+name)
	w.git("tag", name)
	w.tags = append(w.tags, name)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// source is what bisects from the first tag to the last, in dir.
func (w *world) source(dir string) *commits.Source {
	w.t.Helper()
	repo, err := history.Open(w.t.Context(), w.repo)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := repo.Between(w.t.Context(), w.tags[:1], w.tags[len(w.tags)-1])
	if err != nil {
		w.t.Fatal(err)
	}
	return &commits.Source{
		Repo: repo, Range: r, Dir: dir, Spec: kbuild.Spec{Arch: arch.Host(), Jobs: 1, NoCcache: true},
		Resolve: func(_ context.Context, arg string) (*candidate.Candidate, error) {
			return &candidate.Candidate{ModulesDir: filepath.Join(arg, "mods")}, nil
		},
	}
}

// candidate is the commit of that tag.
func (w *world) candidate(s *commits.Source, tag string) bisect.Candidate {
	w.t.Helper()
	all := append(s.Good(), s.Candidates()...)
	i := slices.IndexFunc(all, func(c bisect.Candidate) bool { return c.About == "change "+tag })
	if i < 0 {
		w.t.Fatalf("no candidate %s in %v", tag, all)
	}
	return all[i]
}

// prepare builds the commit of that tag.
func (w *world) prepare(s *commits.Source, tag string) (bisect.Kernel, error) {
	w.t.Helper()
	return s.Prepare(w.t.Context(), w.candidate(s, tag), nil)
}

// must builds it, and it does.
func (w *world) must(s *commits.Source, tag string) bisect.Kernel {
	w.t.Helper()
	k, err := w.prepare(s, tag)
	if err != nil {
		w.t.Fatalf("%s: %v", tag, err)
	}
	return k
}

// unbuildable is the verdict on the commit of that tag.
func (w *world) unbuildable(s *commits.Source, tag string) *bisect.UnbuildableError {
	w.t.Helper()
	k, err := w.prepare(s, tag)
	var bad *bisect.UnbuildableError
	if !errors.As(err, &bad) || bad.Candidate.About != "change "+tag || k.Arg != "" {
		w.t.Fatalf("%s: %+v, %v; want that it cannot be built", tag, k, err)
	}
	return bad
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
