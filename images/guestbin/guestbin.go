// Package guestbin hands out the static programs that go into images, for each
// architecture: the guest agent, and the helper that dracut runs with.
//
// The Makefile builds them before the program, which then carries them. Without
// make the Go tool builds them when they are first needed: a program that `go
// install MODULE@VERSION` made fetches the source of its own version for that and
// keeps the result in the cache; one that was built in a source tree takes the tree.
package guestbin

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed all:bin
var embedded embed.FS

// Program is the package path of one of the programs.
type Program string

// The programs.
const (
	Agent  Program = modulePath + "/images/agent"
	Helper Program = modulePath + "/images/rootfs/helper"
)

const modulePath = "github.com/unwedge/unwedge"

// Binary returns a program for an architecture.
func Binary(ctx context.Context, p Program, a arch.Arch) ([]byte, error) {
	name := path.Base(string(p))
	if b, err := embedded.ReadFile("bin/" + name + "-" + string(a)); err == nil {
		return b, nil
	}
	if a.Facts().GOARCH == "" {
		return nil, fmt.Errorf("build the guest's %s: unknown architecture %q", name, a)
	}
	b, err := compile(ctx, p, a)
	if err != nil {
		return nil, fmt.Errorf("build the guest's %s for %s: %w", name, a, err)
	}
	return b, nil
}

func compile(ctx context.Context, p Program, a arch.Arch) ([]byte, error) {
	own, ok := ownModule()
	if !ok {
		dir, err := os.MkdirTemp("", "unwedge-guestbin-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		return build(ctx, p, a, "", dir)
	}
	store, err := cache.Default()
	if err != nil {
		return nil, err
	}
	key := cache.Key{Kind: "guestbin", Inputs: []string{"1", own.Version, own.Sum, string(p), string(a)}}
	dir, err := store.Get(ctx, key, func(ctx context.Context, dir string) error {
		source, err := own.download(ctx)
		if err != nil {
			return err
		}
		_, err = build(ctx, p, a, source, dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, programName))
}

const programName = "program"

// build builds a program in the module at source, "" for the working directory's,
// and leaves it in dir.
func build(ctx context.Context, p Program, a arch.Arch, source, dir string) ([]byte, error) {
	out := filepath.Join(dir, programName)
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + a.Facts().GOARCH}
	if source != "" {
		env = append(env, "GOWORK=off", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -mod=readonly"))
	}
	if _, err := run(ctx, source, env, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, string(p)); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// module is a module that the Go tool can fetch, and its checksum as in go.sum.
type module struct{ Path, Version, Sum string }

// ownModule is the module that this code was built from, as the Go tool recorded it.
// Only one that came from a module proxy has a checksum.
func ownModule() (module, bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return module{}, false
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != modulePath {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		return module{m.Path, m.Version, m.Sum}, m.Sum != ""
	}
	return module{}, false
}

// download returns the directory with the module's source in the module cache.
func (m module) download(ctx context.Context) (string, error) {
	out, err := run(ctx, os.TempDir(), []string{"GOWORK=off"}, "mod", "download", "-json", m.Path+"@"+m.Version)
	var got struct{ Dir, Sum, Error string }
	if jerr := json.Unmarshal(out, &got); jerr == nil && got.Error != "" {
		err = errors.New(oneLine(got.Error))
	} else if err == nil {
		err = jerr
	}
	switch {
	case errors.Is(err, exec.ErrNotFound), ctx.Err() != nil:
		return "", err
	case err != nil:
		return "", fmt.Errorf("fetch its source, %s@%s: %w: set GOPROXY to a module proxy that can be reached; the result is kept", m.Path, m.Version, err)
	case got.Sum != m.Sum:
		return "", fmt.Errorf("fetch its source, %s@%s: the checksum is %s, and this program was built from %s: install unwedge again", m.Path, m.Version, got.Sum, m.Sum)
	}
	return got.Dir, nil
}

// run runs the Go tool and returns its standard output; the error is one line.
func run(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil || ctx.Err() != nil:
		return stdout.Bytes(), errors.Join(err, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: install Go, or build unwedge in its source tree with make, which embeds the guest's programs", err)
	}
	return stdout.Bytes(), fmt.Errorf("go %s: %w: %s", args[0], err, oneLine(stderr.String()))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
