package kbuild

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
)

// Check says whether this host can build the Spec, before anything is built: a
// *HostError of ErrToolchain where it cannot. It takes a second or two.
func Check(ctx context.Context, s Spec) error {
	if err := s.check(); err != nil {
		return err
	}
	findings, err := toolchain.Check(ctx, s.request())
	return broken(findings, err)
}

// CheckHost is the part of Check that needs no source, so that a missing compiler
// is reported before a source is fetched or checked out.
func CheckHost(ctx context.Context, s Spec) error {
	r := s.request()
	r.Source, r.Config = "", ""
	return broken(toolchain.Check(ctx, r))
}

func (s Spec) request() toolchain.Request {
	return toolchain.Request{
		Arch: s.Arch, LLVM: s.LLVM, Cross: s.Cross, NoCcache: s.NoCcache,
		Source: s.Source, Config: filepath.Join(s.Output, ".config"),
	}
}

// checkConfigured looks for what the finished configuration asks of the host.
func (s Spec) checkConfigured(ctx context.Context) error {
	findings, err := toolchain.CheckConfig(ctx, s.request())
	return broken(findings, err)
}

// broken makes a HostError of what was found.
func broken(findings []toolchain.Finding, err error) error {
	if err == nil {
		err = toolchain.Err(findings)
	}
	var b *toolchain.BrokenError
	switch {
	case errors.Is(err, unix.ENOSPC):
		return hostFault("check", err)
	case !errors.As(err, &b):
		return err
	}
	return &HostError{Kind: ErrToolchain, Step: "check", Line: b.Error(), Advice: advice(b)}
}

// advice says how to get what was found to be missing, broken or too old.
func advice(b *toolchain.BrokenError) string {
	command := asCommand(b.Command)
	if !slices.ContainsFunc(b.Findings, func(f toolchain.Finding) bool { return f.Installed == toolchain.Old }) {
		return command
	}
	const newer = "what is too old has to come in a newer version than is installed, such as a later release of the distribution has"
	if command == "" {
		return newer
	}
	return newer + "; " + command
}

// asCommand puts an installation into words.
func asCommand(command string) string {
	if command == "" {
		return ""
	}
	return fmt.Sprintf("install with `%s`", command)
}
