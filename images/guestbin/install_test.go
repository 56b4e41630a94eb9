package guestbin

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gomodule "golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const version = "v0.0.1"

// treeFile is a file of the source tree, by its path below the top.
type treeFile struct{ root, path string }

func (f treeFile) Path() string                { return filepath.ToSlash(f.path) }
func (f treeFile) Lstat() (fs.FileInfo, error) { return os.Lstat(filepath.Join(f.root, f.path)) }
func (f treeFile) Open() (io.ReadCloser, error) {
	return os.Open(filepath.Join(f.root, f.path))
}

// proxy makes a module proxy of files that has this tree as its one module, without
// what make built and what only tests read.
func proxy(t *testing.T) (dir string) {
	t.Helper()
	const root = "../.."
	var files []zip.File
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != root && strings.HasPrefix(d.Name(), ".")
		switch built := filepath.Base(filepath.Dir(path)) == "bin"; {
		case d.IsDir() && (hidden || d.Name() == "testdata" || path == root+"/bin"):
			return filepath.SkipDir
		case d.Type().IsRegular() && (!hidden && !built || d.Name() == ".gitkeep"):
			rel, err := filepath.Rel(root, path)
			files = append(files, treeFile{root, rel})
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	at := filepath.Join(dir, modulePath, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := zip.Create(&b, gomodule.Version{Path: modulePath, Version: version}, files); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"list": []byte(version + "\n"), version + ".info": []byte(`{"Version":"` + version + `"}`),
		version + ".mod": mod, version + ".zip": b.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(at, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// user is somebody who has Go, a QEMU and a kernel, and no source tree.
type user struct {
	t      *testing.T
	home   string
	env    []string
	kernel string
}

func newUser(t *testing.T) *user {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the Go tool is not installed")
	}
	out, err := exec.CommandContext(t.Context(), goTool, "env", "-json", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	var env struct{ GOMODCACHE, GOCACHE string }
	if err := json.Unmarshal(out, &env); err != nil {
		t.Fatal(err)
	}
	downloads := filepath.Join(env.GOMODCACHE, "cache", "download")
	if _, err := os.Stat(filepath.Join(downloads, "golang.org")); err != nil {
		t.Skipf("no modules to install from: %v", err)
	}
	u := &user{t: t, home: t.TempDir()}
	u.kernel = u.file("vmlinux", kerneltest.Vmlinux(), 0o644)
	u.file("bin/qemu-system-x86_64", []byte("#!/bin/sh\necho QEMU emulator version 7.2.22\n"), 0o755)
	if err := os.Symlink(goTool, u.home+"/bin/go"); err != nil {
		t.Fatal(err)
	}
	u.env = []string{
		"HOME=" + u.home, "PATH=" + u.home + "/bin", "GOBIN=" + u.home + "/gobin", "GOMODCACHE=" + u.home + "/mod", "GOCACHE=" + env.GOCACHE,
		"GOPROXY=file://" + proxy(t) + ",file://" + downloads, "GOSUMDB=off", "GOTOOLCHAIN=local", "GOFLAGS=-modcacherw -trimpath", "CGO_ENABLED=0",
		"UNWEDGE_CACHE=" + u.home + "/cache",
	}
	return u
}

func (u *user) file(name string, content []byte, mode os.FileMode) string {
	u.t.Helper()
	path := filepath.Join(u.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// run runs a program in the user's home; later variables win.
func (u *user) run(env []string, name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(u.t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = u.home, slices.Concat(u.env, env), &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// print runs what needs the agent, and boots nothing.
func (u *user) print(env ...string) (stdout, stderr string, err error) {
	return u.run(env, u.home+"/gobin/unwedge", "boot", "--print-qemu", "--accel", "tcg", "--scenario", "tiny", u.kernel)
}

// TestInstalledFromAModuleProxy: a program that `go install MODULE@VERSION` made has
// no guest programs embedded, and makes them from the source of its version.
func TestInstalledFromAModuleProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles the whole program")
	}
	u := newUser(t)
	if _, stderr, err := u.run(nil, u.home+"/bin/go", "install", modulePath+"@"+version); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	for _, tt := range []struct {
		name string
		env  []string
		want string
	}{
		{"no Go", []string{"PATH=" + filepath.Dir(u.file("bare/qemu-system-x86_64", []byte("#!/bin/sh\necho QEMU emulator version 7.2.22\n"), 0o755))},
			"install Go, or build unwedge in its source tree with make"},
		{"no network", []string{"GOPROXY=off", "GOMODCACHE=" + u.home + "/empty"}, "set GOPROXY to a module proxy that can be reached"},
	} {
		stdout, stderr, err := u.print(tt.env...)
		if err == nil || strings.Count(strings.TrimSpace(stderr), "\n") != 0 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: %v\n%s%s\nwant one line with %q", tt.name, err, stdout, stderr, tt.want)
		}
	}
	stdout, stderr, err := u.print()
	if err != nil || !strings.Contains(stdout, "-initrd") {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	// The second time needs neither Go nor the network.
	if _, stderr, err := u.print("PATH="+u.home+"/bare", "GOPROXY=off", "GOMODCACHE="+u.home+"/empty"); err != nil {
		t.Errorf("again: %v: %s", err, stderr)
	}
}

func TestUnknownArchitecture(t *testing.T) {
	if b, err := Binary(t.Context(), Agent, "mips"); err == nil || b != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := Binary(t.Context(), Agent, arch.All()[0]); err != nil || !bytes.HasPrefix(b, []byte("\x7fELF")) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
