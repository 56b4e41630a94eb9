package kbuild

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostPattern is what a program prints when the host is to blame.
type hostPattern struct {
	re     *regexp.Regexp
	kind   error
	advice string
}

// What to do about what a build ran out of.
const (
	makeRoom   = "make room, then run the same command again: what was built is kept"
	moreMemory = "use fewer jobs (-j), or a host with more memory"
)

// hostPatterns, the more particular first. Each is bound to the form of a program's
// own message, so that a source's text does not match.
var hostPatterns = []hostPattern{
	{regexp.MustCompile(`: '?No space left on device\b|^\S*: (?:final close|write) failed.*No space|Disk quota exceeded$`), ErrNoSpace, makeRoom},
	{regexp.MustCompile(`cannot open linker script file ldscripts/`), ErrToolchain,
		"the linker lacks the script of an emulation that it says it has: its package is broken; install binutils anew or another version"},
	{regexp.MustCompile(`unrecogni[sz]ed emulation mode|unrecogni[sz]ed emulation\b`), ErrToolchain, "the linker is not for this architecture: install the cross binutils"},
	// gcc, collect2, clang, make, its shell and bash have each a way to say that a
	// program was killed, which the kernel does where memory is short.
	{regexp.MustCompile(`[Kk]illed (?:signal terminated program|\(program )|terminated with signal 9 \[Killed\]|: unable to execute command: Killed$|^make.*\*\*\* \[.*\] (?:Error 137|Killed)$|^Killed$|^\S+: line \d+: +\d+ Killed\b`), ErrMemory, moreMemory},
	{regexp.MustCompile(`^(?:virtual memory exhausted|\S+: out of memory allocating |\S+: (?:.*: )?memory exhausted$|fork: Cannot allocate memory)|: Cannot allocate memory$|LLVM ERROR: out of memory`), ErrMemory, moreMemory},
	{regexp.MustCompile(`^(?:(?:/usr)?/bin/)?(?:ba|da)?sh: (?:(?:line )?\d+: )?[^/\s]+: (?:command )?not found$|^\S+\.sh: (?:line )?\d+: [^/\s]+: (?:command )?not found$|^[^/\s]+: command not found$|^(?:/usr/bin/)?env: .*: No such file or directory$`), ErrToolchain, "install the program"},
	{regexp.MustCompile(`^make(?:\[\d+\])?: [\w.+-]+: No such file or directory$`), ErrToolchain, "install the program"},
	{regexp.MustCompile(`fatal error: '?(?:libelf|gelf|elf|openssl/\w+|ncurses|zlib|gmp|mpc|dwarf|elfutils/\w+)\.h'?(?:: No such file or directory| file not found)`), ErrToolchain, "install the headers"},
	{regexp.MustCompile(`, please install libelf-dev`), ErrToolchain, "install the headers"},
	{regexp.MustCompile(`gcc-plugin\S*\.h: No such file`), ErrToolchain, "install gcc's plugin headers"},
	{regexp.MustCompile(`cannot find -l(?:elf|crypto|ssl|z|dw)\b|unable to find library -l`), ErrToolchain, "install the library's development package"},
	{regexp.MustCompile(`^BTF: \S+: pahole .*(?:not available|is too old)|^BTF: .*pahole version`), ErrToolchain, "install pahole (the package dwarves), or set CONFIG_DEBUG_INFO_BTF=n"},
	{regexp.MustCompile(`\*\*\* (?:C |Rust )?[Cc]ompiler.* (?:is )?too old|\*\*\* (?:Assembler|Linker) is too old|Compiler is too old|\*\*\* Compiler lacks asm-goto|\*\*\* unknown (?:compiler|linker|assembler)|\*\*\* C compiler '.*' not found|\*\*\* GNU Make >= \S+ is required|Kconfig\.include:\d+: (?:.* not found|Sorry, this .* is not supported\.)$`), ErrToolchain, "install a newer one: see Documentation/process/changes.rst of the tree"},
	{regexp.MustCompile(`^ccache: error: `), ErrHost, "give ccache a directory that it can use (CCACHE_DIR), or set CCACHE_DISABLE=1"},
	{regexp.MustCompile(`unrecognized command[- ]line option '-m(?:abi=lp64|little-endian|no-red-zone|cmodel=kernel)'`), ErrToolchain, "the compiler is not for this architecture: install the cross compiler"},
	{regexp.MustCompile(`[Tt]he source tree is not clean`), ErrNotClean, ""},
	{regexp.MustCompile(`: (?:Read-only file system|Input/output error|Too many open files(?: in system)?|Resource temporarily unavailable|Exec format error|Structure needs cleaning)$|(?:cannot create|can't create|cannot open output file|opening dependency file|opening output file)\b.*: Permission denied$`), ErrHost, ""},
}

func matchHost(line string) *hostPattern {
	for i := range hostPatterns {
		if hostPatterns[i].re.MatchString(line) {
			return &hostPatterns[i]
		}
	}
	return nil
}

// judge says who is to blame for a make that failed.
func (m *maker) judge(step string, s *scanner, err error) error {
	if len(s.rest) > 0 {
		s.flush()
	}
	log := m.log.Name()
	var exit *exec.ExitError
	switch {
	case s.host != nil && errors.Is(s.host.kind, ErrNotClean):
		return &HostError{Kind: ErrNotClean, Step: step, Line: m.spec.Source + " holds a build of its own", Log: log,
			Advice: fmt.Sprintf("run `make -C %[1]s mrproper`, which removes that one with its .config, or use a clean copy: `git -C %[1]s worktree add --detach DIR`", m.spec.Source)}
	case s.host != nil:
		return &HostError{Kind: s.host.kind, Step: step, Line: s.hostAt, Log: log, Advice: s.host.advice}
	case errors.Is(err, exec.ErrNotFound):
		return &HostError{Kind: ErrToolchain, Step: step, Line: "make is not installed"}
	case !errors.As(err, &exit): // the log could not be written, make not be started
		return hostFault(step, err)
	case exit.Sys().(syscall.WaitStatus).Signaled():
		return &HostError{Kind: ErrMemory, Step: step, Line: "make was ended by " + exit.Sys().(syscall.WaitStatus).Signal().String(), Log: log}
	case full(m.spec.Output):
		return &HostError{Kind: ErrNoSpace, Step: step, Line: cmp.Or(s.tree, s.stop), Log: log, Advice: makeRoom}
	}
	e := &TreeError{Step: step, Line: m.relative(cmp.Or(s.complaint(), err.Error())), Log: log}
	e.File, e.LineNo = place(e.Line)
	return e
}

// upRE is the way from the output to the source.
var upRE = regexp.MustCompile(`^(?:\.\./)+`)

// relative takes the way to the source out of a line.
func (m *maker) relative(line string) string {
	line = strings.ReplaceAll(line, m.spec.Source+"/", "")
	if rel, err := filepath.Rel(m.spec.Output, m.spec.Source); err == nil && rel != "." {
		line = strings.TrimPrefix(line, rel+"/")
	}
	return upRE.ReplaceAllString(line, "")
}

// full says that next to nothing is free where the output is.
func full(dir string) bool {
	const least = 4 << 20 // bytes
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) < least
}

// hostFault wraps an error of the operating system.
func hostFault(step string, err error) error {
	e := &HostError{Kind: ErrHost, Step: step, Line: err.Error()}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Kind, e.Advice = ErrNoSpace, makeRoom
	case errors.Is(err, unix.ENOMEM):
		e.Kind, e.Advice = ErrMemory, moreMemory
	case errors.Is(err, os.ErrPermission):
		e.Advice = fmt.Sprintf("the user %d may not write there", os.Getuid())
	}
	return e
}
