// Package helperbin hands out the static helper (package main in
// images/rootfs/helper) for each architecture: embedded where the Makefile has
// built it before the program, and built with the Go tool otherwise.
package helperbin

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed all:bin
var embedded embed.FS

// source is the helper's package path.
const source = "github.com/unwedge/unwedge/images/rootfs/helper"

// Binary returns the helper for an architecture.
func Binary(ctx context.Context, a arch.Arch) ([]byte, error) {
	if b, err := embedded.ReadFile("bin/helper-" + string(a)); err == nil {
		return b, nil
	}
	b, err := build(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("build the image helper for %s: %w: build unwedge with make, which embeds it", a, err)
	}
	return b, nil
}

func build(ctx context.Context, a arch.Arch) ([]byte, error) {
	dir, err := os.MkdirTemp("", "unwedge-helper-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "helper")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=-buildvcs=false", "GOARCH="+a.Facts().GOARCH)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(msg)), " "))
	}
	return os.ReadFile(out)
}
