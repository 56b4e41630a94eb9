// Package guestbin hands out the static programs that go into images, for each
// architecture: the guest agent, and the helper that dracut is run with. The
// Makefile builds them before the program, which then carries them; a program
// built by a plain `go build` or `go test` inside the source tree has none
// embedded, and builds what it needs with the Go tool.
package guestbin

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed all:bin
var embedded embed.FS

// Program is the package path of one of the programs.
type Program string

// The programs.
const (
	Agent  Program = "github.com/unwedge/unwedge/images/agent"
	Helper Program = "github.com/unwedge/unwedge/images/rootfs/helper"
)

// Binary returns a program for an architecture.
func Binary(ctx context.Context, p Program, a arch.Arch) ([]byte, error) {
	name := path.Base(string(p))
	if b, err := embedded.ReadFile("bin/" + name + "-" + string(a)); err == nil {
		return b, nil
	}
	b, err := build(ctx, p, a)
	if err != nil {
		return nil, fmt.Errorf("build the guest's %s for %s: %w: build unwedge with make, which embeds it", name, a, err)
	}
	return b, nil
}

func build(ctx context.Context, p Program, a arch.Arch) ([]byte, error) {
	dir, err := os.MkdirTemp("", "unwedge-guestbin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, string(p))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+a.Facts().GOARCH)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(msg)), " "))
	}
	return os.ReadFile(out)
}
