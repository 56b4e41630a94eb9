// Package agentbin hands out the static guest agent for each architecture. The
// Makefile builds the agents before the program, which then carries them; a
// program built by a plain `go build` or `go test` inside the source tree has
// none embedded, and builds what it needs with the Go tool.
package agentbin

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

// source is the agent's package path.
const source = "github.com/unwedge/unwedge/images/agent"

// Binary returns the agent for an architecture.
func Binary(ctx context.Context, a arch.Arch) ([]byte, error) {
	if b, err := embedded.ReadFile("bin/agent-" + string(a)); err == nil {
		return b, nil
	}
	b, err := build(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("build the guest agent for %s: %w: build unwedge with make, which embeds it", a, err)
	}
	return b, nil
}

func build(ctx context.Context, a arch.Arch) ([]byte, error) {
	dir, err := os.MkdirTemp("", "unwedge-agent-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "agent")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=-buildvcs=false", "GOARCH="+a.Facts().GOARCH)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(msg)), " "))
	}
	return os.ReadFile(out)
}
