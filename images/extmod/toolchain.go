package extmod

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
	// Tool is the program, Package Debian's package that has it.
	Tool, Package string
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("build module: %s is not installed: install the package %s", e.Tool, e.Package)
}

// BuildError says that make failed.
type BuildError struct {
	Name string // the module's
	// Line is the first complaint of compiler or make.
	Line string
	// Compiler is what the compiler says of itself, Major its version, and Built
	// that of the gcc which the kernel was built with; 0 where it is not known.
	Compiler     string
	Major, Built int
	// Log is all that make printed.
	Log []byte
}

func (e *BuildError) Error() string {
	s := fmt.Sprintf("build module %s: %s", e.Name, e.Line)
	if e.Built != 0 {
		s += fmt.Sprintf(" (with %s; the kernel was built with gcc %d)", e.Compiler, e.Built)
	}
	return s
}

// OldCompiler says that the compiler is older than the kernel's, which is reason
// enough: options may be missing, and the programs of the kernel's header package
// may need a newer libc than this host's.
func (e *BuildError) OldCompiler() bool { return e.Major != 0 && e.Major < e.Built }

// Toolchain compiles modules for the kernels of one architecture.
type Toolchain struct {
	// Version is what the compiler says of itself.
	Version string

	karch string // the kernel's make variable ARCH
	cross string // CROSS_COMPILE, "" on a host of that architecture
	cc    string // the compiler
	llvm  bool   // it is clang, with LLVM's tools
	major int    // its major version, 0 if not known
	built int    // major version of the gcc that the kernel was built with, 0 if not known
}

// FindTools finds what to compile with for the kernel of a header directory: gcc
// in the version that the kernel was built with, or else the distribution's; clang
// for a kernel that clang built, whose options gcc does not know. What is not
// installed is a *MissingToolError.
func FindTools(ctx context.Context, a arch.Arch, headers string) (*Toolchain, error) {
	t := &Toolchain{karch: a.Facts().Source, built: builtWith(headers), llvm: configured(headers, "CONFIG_CC_IS_CLANG") == "y"}
	if t.karch == "" {
		return nil, fmt.Errorf("build module: no architecture %q", a)
	}
	for _, need := range t.choose(a) {
		if _, err := exec.LookPath(need.Tool); err != nil {
			return nil, &need
		}
	}
	if exact := fmt.Sprintf("%s-%d", t.cc, t.built); t.built != 0 {
		if _, err := exec.LookPath(exact); err == nil {
			t.cc = exact
		}
	}
	out, err := exec.CommandContext(ctx, t.cc, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("build module: ask %s for its version: %w", t.cc, err)
	}
	t.Version, _, _ = strings.Cut(string(out), "\n")
	if out, err := exec.CommandContext(ctx, t.cc, "-dumpversion").Output(); err == nil {
		major, _, _ := strings.Cut(strings.TrimSpace(string(out)), ".")
		t.major, _ = strconv.Atoi(major) // 0 where it tells something else
	}
	return t, nil
}

// choose names the compiler, and lists what must be installed.
func (t *Toolchain) choose(a arch.Arch) []MissingToolError {
	if t.llvm {
		t.cc = "clang"
		return []MissingToolError{{"make", "make"}, {t.cc, "clang"}, {"ld.lld", "lld"}, {"llvm-nm", "llvm"}}
	}
	pkg := "gcc"
	if a != arch.Host() {
		triplet := a.Facts().Multiarch
		t.cross, pkg = triplet+"-", "gcc-"+strings.ReplaceAll(triplet, "_", "-")
	}
	t.cc = t.cross + "gcc"
	return []MissingToolError{{"make", "make"}, {t.cc, pkg}, {t.cross + "ld", strings.Replace(pkg, "gcc", "binutils", 1)}}
}

// builtWith reads the major version of the compiler that the kernel was built
// with from its headers, 0 where they do not say.
func builtWith(headers string) int {
	n, err := strconv.Atoi(configured(headers, "CONFIG_GCC_VERSION")) // 120200 is 12.2.0
	if err != nil {
		return 0
	}
	return n / 10000
}

// configured reads an option from the kernel's headers, "" where they lack it.
func configured(headers, option string) string {
	c, err := kernel.ReadConfig(filepath.Join(headers, ".config"))
	if err != nil {
		return ""
	}
	return c.Get(option)
}

// Spec is a module to build.
type Spec struct {
	// Name is the module's: NAME.ko is what the build must leave.
	Name string
	// Files are its source, by file name; Kbuild is among them.
	Files map[string][]byte
	// Headers is what `make -C` is given: a build tree whose modules_prepare or
	// build is done, or the directory of a header package.
	Headers string
	// Log gets all that make prints; nil drops it.
	Log io.Writer
}

// buildTime bounds a build that would not end, on a busy host.
const buildTime = 5 * time.Minute

// maxModule bounds the module that a build leaves, in bytes.
const maxModule = 128 << 20

// Build compiles a module in a directory of its own, outside the kernel's tree,
// and returns its bytes (Documentation/kbuild/modules.rst). That make fails is a
// *BuildError.
func (t *Toolchain) Build(ctx context.Context, s Spec) (module []byte, err error) {
	dir, err := os.MkdirTemp("", "unwedge-module-")
	if err != nil {
		return nil, fmt.Errorf("build module: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := writeFiles(dir, s); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, buildTime, fmt.Errorf("make took longer than %s", buildTime))
	defer cancel()
	task := progress.From(ctx).Task("build module "+s.Name, 0)
	err = t.make(ctx, s, dir, "modules")
	task.Done(err)
	if err != nil {
		return nil, err
	}
	return readModule(filepath.Join(dir, s.Name+".ko"))
}

// writeFiles writes a module's source.
func writeFiles(dir string, s Spec) error {
	for name, text := range s.Files {
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			return fmt.Errorf("build module %s: %q is not a file name", s.Name, name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("build module %s: %w", s.Name, err)
		}
	}
	return nil
}

func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the build left no module: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxModule+1))
	if err == nil && len(b) > maxModule {
		err = fmt.Errorf("%s has more than %d MiB", path, maxModule>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return b, nil
}

func (t *Toolchain) make(ctx context.Context, s Spec, dir string, targets ...string) error {
	// BTF would need pahole and vmlinux, and nothing reads it here.
	args := []string{"-C", s.Headers, "M=" + dir, "ARCH=" + t.karch}
	if t.llvm {
		args = append(args, "LLVM=1")
	} else {
		args = append(args, "CROSS_COMPILE="+t.cross, "CC="+t.cc)
	}
	cmd := exec.CommandContext(ctx, "make", append(append(args, "CONFIG_DEBUG_INFO_BTF_MODULES="), targets...)...)
	cmd.Env = environ(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // make's children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if s.Log != nil {
		if _, err := s.Log.Write(out); err != nil {
			return fmt.Errorf("keep make's log: %w", err)
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("build module %s: %w", s.Name, context.Cause(ctx))
	}
	line := firstError(out)
	if line == "" {
		line = "make: " + err.Error()
	}
	return &BuildError{Name: s.Name, Line: line, Compiler: t.Version, Major: t.major, Built: t.built, Log: out}
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
		for _, mark := range []string{"error:", "ERROR:", "error while loading", "not found", "*** "} {
			if bytes.Contains(line, []byte(mark)) {
				return strings.TrimSpace(string(line))
			}
		}
	}
	return ""
}
