package diagnose

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// initDied: there is no init, or it exited.
func initDied(f facts) *result.Diagnosis {
	if p := f.log.panicReport("No working init found", "No init found", "Requested init"); p != nil {
		return noInit(f, p)
	}
	p := f.log.panicReport("Attempted to kill init!", "Attempted to kill the init")
	if p == nil {
		return nil
	}
	if r := f.log.lastCrash(p.Offset); r != nil && (r.PID == p.PID && r.Comm == p.Comm || r.PID == 1) {
		return nil // the kernel crashed in PID 1: that is the cause
	}
	what, remedy := "its exit code is not in the log", "read init's own output before the panic"
	code, ok := exitCode(p.Text)
	if ok {
		what, remedy = decodeExit(code)
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseInitDied, Where: f.log.userWhere(), Confidence: result.Certain,
		Title: p.Title, Remedy: remedy,
		Summary: "PID 1 must never exit, but it did: " + what,
	}
	if p.Comm != "" {
		out.Task = &result.Blocked{Comm: p.Comm, PID: p.PID, State: "X"}
		out.Summary = "PID 1 must never exit, but " + p.Comm + " did: " + what
	}
	out.Evidence = append(out.Evidence, f.log.lastEvent("init could not be run", dump.EventNoInit)...)
	out.Evidence = append(out.Evidence, f.log.reportEvidence("the panic", p))
	if f.log.Boot.LastEnd > 0 && f.log.Boot.LastSource == dump.SourceUserspace {
		out.Notes = append(out.Notes, "last line from user space: "+f.log.Boot.LastText)
	}
	return out
}

// noInit: the kernel ran none of the programs that may be init.
func noInit(f facts, p *dump.Report) *result.Diagnosis {
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseNoInit, Where: result.WhereInitramfs, Confidence: result.Certain,
		Title:    "kernel panic: no working init found",
		Summary:  "the kernel found no program to run as init",
		Remedy:   "check that init= (or rdinit=, or /init in the initramfs) names an executable for this architecture, that its interpreter exists, and that the initramfs was loaded",
		Evidence: []result.Evidence{f.log.reportEvidence("the panic", p)},
	}
	failed := f.log.Boot.All(dump.EventNoInit)
	for _, e := range failed {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("why init did not run", e))
	}
	if x := notExecuted(append(failed, dump.Event{Text: p.Text})); x != nil {
		x.explain(f, out)
	}
	return out
}

// exitCode reads the exitcode=0x%08x of a panic (kernel/exit.c). With fewer digits the
// line was cut, and says nothing.
func exitCode(s string) (int, bool) {
	_, rest, ok := strings.Cut(s, "exitcode=0x")
	if !ok {
		return 0, false
	}
	n := 0
	for n < len(rest) && n < 8 && strings.IndexByte("0123456789abcdefABCDEF", rest[n]) >= 0 {
		n++
	}
	v, err := strconv.ParseUint(rest[:n], 16, 32)
	return int(v), err == nil && n == 8
}

// decodeExit explains a wait status (wait(2): the signal in the low seven bits,
// the exit status in the next byte).
func decodeExit(code int) (what, remedy string) {
	if sig := code & 0x7f; sig != 0 {
		name, hint := signalName(sig)
		return "it was killed by " + name + hint, "look for init's crash: its last output, and a 'segfault at' or 'trap' line before the panic"
	}
	switch st := code >> 8 & 0xff; st {
	case 0:
		return "it exited with status 0 (the script ended, or somebody left the shell)", "init must not exit: end the script with exec of the real init, or with a loop"
	case 126:
		return "it exited with status 126: a program was found but could not be executed", "check the permissions, architecture and interpreter of the program that init runs"
	case 127:
		return "it exited with status 127: a program or a shared library was not found (the shell's 'not found', or an error of ld.so)", "check that everything init needs is in the image: the program it runs, its ELF interpreter and its libraries (ldd)"
	default:
		return fmt.Sprintf("it exited with status %d", st), "read init's own output before the panic"
	}
}

func signalName(sig int) (name, hint string) {
	names := map[int][2]string{
		4:  {"SIGILL", " (an instruction the CPU does not have: check the CPU model against the distribution's baseline)"},
		5:  {"SIGTRAP", ""},
		6:  {"SIGABRT", " (a failed assertion, in init or its C library)"},
		7:  {"SIGBUS", " (a file in the image is truncated or unreadable)"},
		8:  {"SIGFPE", ""},
		9:  {"SIGKILL", " (the OOM killer, or another program)"},
		11: {"SIGSEGV", ""},
		15: {"SIGTERM", ""},
		31: {"SIGSYS", " (a system call that seccomp forbids)"},
	}
	if n, ok := names[sig]; ok {
		return n[0], n[1]
	}
	return "signal " + strconv.Itoa(sig), ""
}
