package kbuild

import (
	"errors"
	"fmt"
	"strings"
)

// SpecError says that a Spec asks for what cannot be, whatever the source and the
// host.
type SpecError struct{ Reason string }

func (e *SpecError) Error() string { return "build kernel: " + e.Reason }

// TreeError says that a source does not build: in a bisection, a commit that
// cannot be judged.
type TreeError struct {
	// Step is what was done: configure or build.
	Step string
	// Line is the first error that make or the compiler printed.
	Line string
	// File and LineNo are the place that Line names, "" and 0 where it names none.
	File   string
	LineNo int
	// Log is the file with make's whole output.
	Log string
}

func (e *TreeError) Error() string {
	return fmt.Sprintf("%s kernel: %s (see %s)", e.Step, e.Line, e.Log)
}

// The kinds of HostError, for errors.Is.
var (
	// ErrToolchain: a program, header or linker script is missing, too old or broken.
	ErrToolchain = errors.New("the toolchain cannot build this kernel")
	// ErrNoSpace: the file system is full.
	ErrNoSpace = errors.New("no space left on device")
	// ErrMemory: a program was killed or failed for want of memory.
	ErrMemory = errors.New("out of memory")
	// ErrNotClean: the source tree holds a build of its own, so that no
	// out-of-tree build is possible.
	ErrNotClean = errors.New("the source tree is not clean")
	// ErrHost: anything else that is not the source's fault.
	ErrHost = errors.New("the host failed")
)

// HostError says that this host cannot build, whatever the source: never a verdict
// on the source.
type HostError struct {
	// Kind is one of ErrToolchain, ErrNoSpace, ErrMemory, ErrNotClean, ErrHost.
	Kind error
	// Step is what was done; Line what was printed; Log the file with all of it,
	// "" where nothing had been run.
	Step, Line, Log string
	// Advice is what to do about it, "" where nothing is known.
	Advice string
}

func (e *HostError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s kernel: %v", e.Step, e.Kind)
	if e.Line != "" && !strings.EqualFold(e.Line, e.Kind.Error()) {
		b.WriteString(": " + e.Line)
	}
	if e.Advice != "" {
		b.WriteString(": " + e.Advice)
	}
	if e.Log != "" {
		b.WriteString(" (see " + e.Log + ")")
	}
	return b.String()
}

func (e *HostError) Unwrap() error { return e.Kind }

// Unmet is an option that did not hold.
type Unmet struct {
	Setting
	// Got is the value that it has instead.
	Got string
	// Why says what Kconfig has against it, as far as that is known.
	Why string

	tool string // the program of this host that is too old for it, or missing
}

// ConfigError says that options which were wanted did not survive make
// olddefconfig: in a bisection, a commit that cannot be judged.
type ConfigError struct{ Unmet []Unmet }

func (e *ConfigError) Error() string {
	var parts []string
	for _, u := range e.Unmet {
		part := fmt.Sprintf("%s=%s is %s", u.Name, u.Value, u.Got)
		if u.Why != "" {
			part += ": " + u.Why
		}
		parts = append(parts, part)
	}
	return "configure kernel: " + strings.Join(parts, "; ")
}
