package faultmod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// MissingToolError says what is not installed that building a module needs.
type MissingToolError struct {
	Tool, Package string
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("build fault module: %s is not installed: install the package %s", e.Tool, e.Package)
}

// toolchain compiles modules for one kernel.
type toolchain struct {
	karch string // the kernel's make variable ARCH
	cross string // CROSS_COMPILE, "" on a host of that architecture
	cc    string // the compiler
	// version is what the compiler says of itself, and built the major
	// version of the one that the kernel was built with, 0 if not known.
	version string
	built   int
}

// karch are the kernel's own names for architectures: the folders below arch/.
var karch = map[arch.Arch]string{arch.X86_64: "x86", arch.AArch64: "arm64"}

// findTools finds what to compile with: the compiler version that the kernel was
// built with, or else the distribution's.
func findTools(ctx context.Context, a arch.Arch, built int) (toolchain, error) {
	t := toolchain{karch: karch[a], built: built}
	if t.karch == "" {
		return t, fmt.Errorf("build fault module: no architecture %q", a)
	}
	pkg := "gcc"
	if a != arch.Host() {
		triplet := a.Facts().Multiarch
		t.cross, pkg = triplet+"-", "gcc-"+strings.ReplaceAll(triplet, "_", "-")
	}
	for _, need := range []MissingToolError{{"make", "make"}, {t.cross + "gcc", pkg}, {t.cross + "ld", strings.Replace(pkg, "gcc", "binutils", 1)}} {
		if _, err := exec.LookPath(need.Tool); err != nil {
			return t, &need
		}
	}
	t.cc = t.cross + "gcc"
	if exact := fmt.Sprintf("%s-%d", t.cc, built); built != 0 {
		if _, err := exec.LookPath(exact); err == nil {
			t.cc = exact
		}
	}
	out, err := exec.CommandContext(ctx, t.cc, "--version").Output()
	if err != nil {
		return t, fmt.Errorf("build fault module: ask %s for its version: %w", t.cc, err)
	}
	t.version, _, _ = strings.Cut(string(out), "\n")
	return t, nil
}

// builtWith reads the major version of the compiler that the kernel was built
// with from its headers, 0 where it is not told.
func builtWith(headers string) int {
	c, err := kernel.ReadConfig(filepath.Join(headers, ".config"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(c.Get("CONFIG_GCC_VERSION")) // 120200 is 12.2.0
	if err != nil {
		return 0
	}
	return n / 10000
}

// buildTime bounds a build that would not end, on a busy host.
const buildTime = 5 * time.Minute

// build compiles the module with a kernel's headers and returns its bytes.
func (t toolchain) build(ctx context.Context, headers string) (module []byte, err error) {
	dir, err := os.MkdirTemp("", "unwedge-faultmod-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	err = eachSource(func(name string, b []byte) error {
		return os.WriteFile(filepath.Join(dir, name), b, 0o644)
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, buildTime, fmt.Errorf("make took longer than %s", buildTime))
	defer cancel()
	task := progress.From(ctx).Task("build fault module", 0)
	err = t.make(ctx, headers, dir)
	task.Done(err)
	if err != nil && t.built != 0 && ctx.Err() == nil {
		err = fmt.Errorf("%w (with %s; the kernel was built with gcc %d)", err, t.version, t.built)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, fileName))
}

func (t toolchain) make(ctx context.Context, headers, dir string) error {
	// BTF would need pahole, and nothing reads it here.
	cmd := exec.CommandContext(ctx, "make", "-C", headers, "M="+dir, "ARCH="+t.karch, "CROSS_COMPILE="+t.cross, "CC="+t.cc,
		"CONFIG_DEBUG_INFO_BTF_MODULES=", "modules")
	cmd.Env = environ(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // make's children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if line := firstError(out); line != "" {
		return errors.New(line)
	}
	return fmt.Errorf("make: %w", err)
}

// environ leaves out what would change a kernel build: the variables of a make
// that runs this program, and a developer's own settings.
func environ(env []string) []string {
	keep := []string{"LC_ALL=C"}
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(k, "MAKE"), strings.HasPrefix(k, "MFLAGS"), strings.HasPrefix(k, "KBUILD_"), strings.HasPrefix(k, "LC_"):
		case k == "ARCH", k == "CROSS_COMPILE", k == "KCFLAGS", k == "KCPPFLAGS", k == "O", k == "M", k == "CC", k == "LLVM", k == "GNUMAKEFLAGS":
		default:
			keep = append(keep, kv)
		}
	}
	return keep
}

// firstError picks the compiler's or make's first complaint.
func firstError(out []byte) string {
	for line := range bytes.Lines(out) {
		for _, mark := range []string{"error:", "ERROR:", "not found", "*** "} {
			if bytes.Contains(line, []byte(mark)) {
				return strings.TrimSpace(string(line))
			}
		}
	}
	return ""
}
