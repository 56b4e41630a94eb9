package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/images/hostpkg"
)

// Finding is one thing that keeps this host from building the kernel.
type Finding struct {
	// Tool is the program, header or emulation.
	Tool string
	// Problem says what is wrong with it, and Use what it is for.
	Problem, Use string
	// Packages hold it, where that is known.
	Packages hostpkg.Packages
	// Installed says that the host has them: only another version of them, or the same
	// once more, helps.
	Installed Installed
}

// Installed is why a package that is installed does not do.
type Installed int

// NotInstalled: the package is missing. Old: a newer version is needed than the
// package manager has given. Broken: files of it are missing.
const (
	NotInstalled Installed = iota
	Old
	Broken
)

func (f Finding) String() string {
	s := f.Tool + ": " + f.Problem
	if f.Use != "" {
		s += " (it " + f.Use + ")"
	}
	return s
}

// BrokenError lists everything found, and the command that installs what is
// missing.
type BrokenError struct {
	Findings []Finding
	// Command is "" where the host's package manager or the packages are not known.
	Command string
}

func (e *BrokenError) Error() string {
	var parts []string
	for _, f := range e.Findings {
		parts = append(parts, f.String())
	}
	return strings.Join(parts, "; ")
}

// Err makes one error of findings, nil where there are none.
func Err(findings []Finding) error {
	if len(findings) == 0 {
		return nil
	}
	var p []hostpkg.Packages
	broken := false
	for _, f := range findings {
		if f.Installed != Old {
			p = append(p, f.Packages)
		}
		broken = broken || f.Installed == Broken
	}
	command := install(p...)
	if broken { // apt-get leaves alone what is installed
		command = strings.Replace(command, "apt-get install", "apt-get install --reinstall", 1)
	}
	return &BrokenError{findings, command}
}

// toolTime bounds each program that is tried.
const toolTime = 20 * time.Second

// checker looks at one toolchain.
type checker struct {
	Request
	tools    Tools
	dir      string // for what is compiled and linked
	full     bool   // a program found no room there, which says nothing of it
	findings []Finding
}

// Check tries whether this host can build the kernel that r names: programs and
// headers are looked for, the compiler and the linker are run, and their versions
// held against what the source asks for. An error means that nothing was found out,
// ENOSPC that there is no room for temporary files.
func Check(ctx context.Context, r Request) ([]Finding, error) {
	tools, err := Find(r)
	c := &checker{Request: r, tools: tools}
	var missing *MissingError
	if err != nil && !errors.As(err, &missing) {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "unwedge-toolchain-"); err != nil {
		return nil, fmt.Errorf("check toolchain: %w", err)
	}
	defer os.RemoveAll(c.dir) // a temporary directory
	c.programs()
	for _, step := range []func(context.Context) error{c.headers, c.compiler, c.linker, c.versions} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("check toolchain: %w", err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.full {
			return nil, fmt.Errorf("try the compiler in %s: %w", os.TempDir(), syscall.ENOSPC)
		}
	}
	if err := c.usual(ctx); err != nil {
		return nil, fmt.Errorf("check toolchain: %w", err)
	}
	return c.findings, nil
}

// usual names beside what is missing in any case what most configurations ask for as
// well, so that one installation does: which of it this one asks for is known when it is
// made, which takes what is missing. A host that lacks nothing else is not held up.
func (c *checker) usual(ctx context.Context) error {
	if !slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Installed == NotInstalled && f.Problem == notInstalled }) {
		return nil
	}
	const most = notInstalled + ", and most configurations need it"
	for _, p := range []string{"perl", "openssl"} {
		if !there(p) {
			c.found(p, most)
		}
	}
	for _, h := range []string{"stdio.h", "gelf.h", "openssl/opensslv.h"} {
		if !there(c.tools.hostCC()) {
			if !installedHeader(h) {
				c.found(h, most)
			}
		} else if !c.isFound(h) {
			if err := c.header(ctx, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// installedHeader looks where the distributions put headers, for a host without compiler.
func installedHeader(name string) bool {
	for _, dir := range []string{"/usr/include", "/usr/include/*-linux-gnu"} {
		if files, _ := filepath.Glob(filepath.Join(dir, name)); len(files) > 0 {
			return true
		}
	}
	return false
}

// CheckConfig is the part of Check that only a configuration asks for: programs that
// pack the kernel, libraries for what signs modules, pahole.
func CheckConfig(ctx context.Context, r Request) ([]Finding, error) {
	tools, err := Find(r)
	if err != nil {
		return nil, err
	}
	c := &checker{Request: r, tools: tools}
	if c.dir, err = os.MkdirTemp("", "unwedge-toolchain-"); err != nil {
		return nil, fmt.Errorf("check toolchain: %w", err)
	}
	defer os.RemoveAll(c.dir) // a temporary directory
	err = c.configured(ctx)
	return c.findings, err
}

func (c *checker) found(tool, problem string) {
	w := c.tools.holders(c.Arch, tool)
	c.findings = append(c.findings, Finding{Tool: tool, Problem: problem, Use: w.use, Packages: w.packages})
}

// foundAs is found of what is installed.
func (c *checker) foundAs(as Installed, tool, problem string) {
	c.found(tool, problem)
	c.findings[len(c.findings)-1].Installed = as
}

func (c *checker) isFound(tool string) bool {
	for _, f := range c.findings {
		if f.Tool == tool {
			return true
		}
	}
	return false
}

const notInstalled = "not installed"

// programs looks for what every build runs.
func (c *checker) programs() {
	names := []string{"make", c.tools.CC, c.tools.LD, "flex", "bison", "bc", "awk", "cmp", "find"}
	if c.LLVM {
		names = append(names, "llvm-ar", "llvm-nm", "llvm-objcopy")
	} else if c.tools.Cross != "" {
		names = append(names, "gcc", "ld")
	}
	for _, n := range names {
		if !there(n) {
			c.found(n, notInstalled)
		}
	}
}

// headers asks the host's compiler for those of its C library.
func (c *checker) headers(ctx context.Context) error { return c.header(ctx, "stdio.h") }

// header preprocesses a file that includes a header.
func (c *checker) header(ctx context.Context, name string) error {
	if !there(c.tools.hostCC()) {
		return nil // said already
	}
	out, err := c.run(ctx, c.tools.hostCC(), "-E", "-include", name, "-x", "c", "/dev/null", "-o", os.DevNull)
	if err != nil && ctx.Err() == nil && strings.Contains(out, name) {
		c.found(name, "no such header for "+c.tools.hostCC())
	}
	return nil
}

const program = "int f(int x) { return x + 1; }\n"

// compile makes an object file.
func (c *checker) compile(ctx context.Context, out string, flags ...string) (string, error) {
	src := c.dir + "/try.c"
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		return err.Error(), err
	}
	args := append([]string{"-c", "-O2", "-ffreestanding", "-fno-pic", src, "-o", out}, flags...)
	if c.LLVM {
		args = append(args, "--target="+c.Arch.Facts().Multiarch)
	}
	return c.run(ctx, c.tools.CC, args...)
}

func (c *checker) compiler(ctx context.Context) error {
	if c.isFound(c.tools.CC) {
		return nil
	}
	out, err := c.compile(ctx, c.dir+"/flags.o", compilersFor(c.Arch).flags...)
	if err != nil && ctx.Err() == nil {
		c.found(c.tools.CC, fmt.Sprintf("it cannot compile for %s: %s", c.Arch, first(out, err)))
	}
	c.ccache(ctx)
	return nil
}

// ccache is tried as well: where it cannot write to its directory, Kconfig says of the
// compiler or the assembler that it is not supported.
func (c *checker) ccache(ctx context.Context) {
	if !c.tools.Ccache || c.isFound(c.tools.CC) {
		return
	}
	out, err := c.run(ctx, "ccache", c.tools.CC, "-c", c.dir+"/try.c", "-o", c.dir+"/cached.o")
	if err != nil && ctx.Err() == nil {
		c.found("ccache", fmt.Sprintf("it fails: %s: set CCACHE_DIR to a directory it can write, or CCACHE_DISABLE=1", first(out, err)))
	}
}

// run runs a program with the C locale and returns its output.
func (c *checker) run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	c.full = c.full || err != nil && strings.Contains(string(out), "No space left on device")
	const enough = 256 << 10
	return string(out[:min(len(out), enough)]), err
}

// first is the first line that says something.
func first(out string, err error) string {
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return err.Error()
}
