package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// dracutFatal: dracut gave up for another reason.
func dracutFatal(f *facts) *result.Diagnosis {
	fatal, ok := f.d.Boot.Event(dump.EventFatal)
	refusing, halted := f.d.Boot.Event(dump.EventRefusing)
	if !ok && !halted {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseEmergency, Where: result.WhereInitramfs, Confidence: result.Certain,
		Title:   "dracut gave up",
		Summary: "dracut met an error that it does not go on from",
		Remedy:  "read dracut's lines before it; boot with rd.debug for more",
	}
	if ok {
		out.Title += ": " + dump.Normalise(fatal.Subject)
		out.Summary = "dracut gave up: " + fatal.Subject
		out.Evidence = append(out.Evidence, f.eventEvidence("dracut's error", fatal))
	}
	if halted {
		out.Evidence = append(out.Evidence, f.eventEvidence("dracut halts the boot", refusing))
	}
	return out
}

// initDied: there is no init, or it ended.
func initDied(f *facts) *result.Diagnosis {
	if p := f.panicReport("No working init found", "No init found", "Requested init"); p != nil {
		out := &result.Diagnosis{
			Kind: result.KindPanic, Cause: result.CauseNoInit, Where: result.WhereInitramfs, Confidence: result.Certain,
			Title:    "kernel panic: no working init found",
			Summary:  "the kernel found no program that it could start as init",
			Remedy:   "check that init= (or rdinit=, or /init of the initramfs) names an executable for this architecture, that its interpreter is there, and that the initramfs was really loaded",
			Evidence: []result.Evidence{f.reportEvidence("the panic", p)},
		}
		for _, e := range f.d.Boot.All(dump.EventNoInit) {
			out.Evidence = append(out.Evidence, f.eventEvidence("why init was not run", e))
		}
		return out
	}
	p := f.panicReport("Attempted to kill init!", "Attempted to kill the init")
	if p == nil {
		return nil
	}
	if r := f.lastCrash(p.Offset); r != nil && (r.PID == p.PID && r.Comm == p.Comm || r.PID == 1) {
		return nil // the kernel crashed in PID 1: that is the cause
	}
	what, remedy := "init ended", "look at init's own output before the panic"
	code, ok := exitCode(p.Text)
	if ok {
		what, remedy = decodeExit(code)
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseInitDied, Where: result.WhereUserspace, Confidence: result.Certain,
		Title: p.Title, Remedy: remedy,
		Summary: "PID 1 must never end, and it did: " + what,
	}
	if s := f.d.Boot.Stage; s.Rank() < dump.StageSwitchRoot.Rank() {
		out.Where = result.WhereInitramfs
	}
	if p.Comm != "" {
		out.Task = &result.Blocked{Comm: p.Comm, PID: p.PID, State: "X"}
		out.Summary = "PID 1 must never end, and " + p.Comm + " did: " + what
	}
	if e, ok := f.d.Boot.Event(dump.EventNoInit); ok {
		out.Evidence = append(out.Evidence, f.eventEvidence("init could not be run", e))
	}
	out.Evidence = append(out.Evidence, f.reportEvidence("the panic", p))
	if f.d.Boot.LastEnd > 0 && f.d.Boot.LastSource == dump.SourceUserspace {
		out.Notes = append(out.Notes, "last line of user space: "+f.d.Boot.LastText)
	}
	return out
}

// exitCode reads the exitcode=0x... of a panic.
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
	return int(v), err == nil
}

// decodeExit explains a wait status (wait(2): the signal in the low seven bits,
// the exit status in the next byte).
func decodeExit(code int) (what, remedy string) {
	if sig := code & 0x7f; sig != 0 {
		name, hint := signalName(sig)
		return "it was killed by " + name + hint, "look for the crash of init: its last output, and a 'segfault at' or 'trap' line before the panic"
	}
	switch st := code >> 8 & 0xff; st {
	case 0:
		return "it returned with status 0 (a script that came to its end, or a shell that was left)", "init must not return: let the script end in exec of the real init, or in a loop"
	case 126:
		return "it exited with status 126: a program was found but could not be executed", "check permissions, architecture and interpreter of what init executes"
	case 127:
		return "it exited with status 127: a program or a shared library was not found (the shell's 'not found', or ld.so's failure)", "check that everything init needs is in the image: the program it executes, its ELF interpreter and its libraries (ldd)"
	default:
		return fmt.Sprintf("it exited with status %d", st), "look at init's own output before the panic"
	}
}

func signalName(sig int) (name, hint string) {
	names := map[int][2]string{
		4:  {"SIGILL", " (an instruction the CPU does not have: check the CPU model against the distribution's baseline)"},
		5:  {"SIGTRAP", ""},
		6:  {"SIGABRT", " (a failed assertion, in init or its C library)"},
		7:  {"SIGBUS", " (a file of the image is truncated or cannot be read)"},
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

// rootMount: the kernel could not mount the root file system itself.
func rootMount(f *facts) *result.Diagnosis {
	p := f.panicReport("VFS: Unable to mount root fs", "VFS: Unable to open an initial console")
	if p == nil {
		return nil
	}
	root := f.argument("root")
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseRootMount, Where: result.WhereInitramfs, Confidence: result.Certain,
		Title:    p.Title,
		Evidence: []result.Evidence{f.reportEvidence("the panic", p)},
	}
	switch {
	case f.hasEvent(dump.EventInitramfsBad):
		e, _ := f.d.Boot.Event(dump.EventInitramfsBad)
		out.Cause = result.CauseInitramfs
		out.Summary = "the initramfs could not be unpacked, so the kernel tried to mount the root file system itself and could not"
		out.Remedy = "build the initramfs again with a compression that the kernel has (CONFIG_RD_*), and check that the file is whole"
		out.Evidence = append(out.Evidence, f.eventEvidence("the initramfs", e))
	case f.hasEvent(dump.EventInitramfs) && strings.Contains(p.Text, "unknown-block(0,0)"):
		// init/main.c, kernel_init_freeable: without an init in the initramfs
		// the kernel mounts root= itself. It says so since 6.15 only.
		init := f.argument("rdinit")
		if init == "" {
			init = "/init"
		}
		e, _ := f.d.Boot.Event(dump.EventInitramfs)
		out.Cause = result.CauseNoInit
		out.Summary = "the initramfs was unpacked and has no " + init + " that can be run, so the kernel tried to mount the root file system itself and could not"
		out.Remedy = "check that the initramfs holds " + init + ", and that it is executable; rdinit= names another one"
		out.Evidence = append(out.Evidence, f.eventEvidence("the initramfs", e))
	case strings.Contains(p.Text, "unknown-block(0,0)"):
		out.Summary = "the kernel had no driver or no device for the root file system" + named(root) + ", and no initramfs that would bring one"
		out.Remedy = "give the kernel an initramfs with the driver of the root device, or build the driver in (virtio_blk, virtio_pci, the file system), and check root="
	default:
		out.Summary = "the kernel found the root device" + named(root) + " but could not mount it"
		out.Remedy = "check that the kernel has the file system of the root device built in, or use an initramfs that loads it"
	}
	if e, ok := f.d.Boot.Event(dump.EventRootOpen); ok {
		out.Evidence = append(out.Evidence, f.eventEvidence("the root device could not be opened", e))
	}
	return out
}

func named(s string) string {
	if s == "" {
		return ""
	}
	return " (root=" + s + ")"
}

func (f *facts) hasEvent(k dump.EventKind) bool {
	_, ok := f.d.Boot.Event(k)
	return ok
}

// outOfMemory: the kernel panicked for want of memory, or killed init.
func outOfMemory(f *facts) *result.Diagnosis {
	p := f.panicReport("Out of memory", "out of memory", "System is deadlocked on memory")
	if p == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseOOM, Where: result.WhereUnknown, Confidence: result.Certain,
		Title:    "kernel panic: out of memory",
		Summary:  "the guest ran out of memory and the kernel had nothing left to kill",
		Remedy:   "give the guest more memory (-m), or a smaller initramfs: an unpacked initramfs lives in memory",
		Evidence: []result.Evidence{f.reportEvidence("the panic", p)},
	}
	if r := f.report(dump.ReportOOM); r != nil {
		out.Evidence = append(out.Evidence, f.reportEvidence("the OOM killer", r))
		if r.Comm != "" {
			out.Task = &result.Blocked{Comm: r.Comm, PID: r.PID, State: "R"}
		}
	}
	return out
}

// rebootLoop: the log holds several starts of a kernel.
func rebootLoop(f *facts) *result.Diagnosis {
	b := &f.d.Boot
	n := b.KernelCount
	if n < 2 || f.tasks.section != nil || b.Stage.Rank() >= dump.StageSystem.Rank() || f.in.Ending == EndingSilent {
		return nil
	}
	out := &result.Diagnosis{Kind: result.KindRebootLoop, Cause: result.CauseRebootLoop, Where: result.WhereUnknown, Confidence: asConfidence(n >= 3)}
	for _, k := range []*dump.Banner{&b.Kernels[0], &b.Kernels[len(b.Kernels)-1]} {
		out.Evidence = append(out.Evidence, result.Evidence{What: "a kernel starts", Lines: f.d.Evidence(k.Offset, min(k.Offset+400, f.d.Bytes), model.Caller{}, 1), Offset: k.Offset, Source: sourceConsole})
	}
	times := strconv.Itoa(n) + " times"
	var fatal, ordered *dump.Report
	for i := range f.d.Reports {
		switch r := &f.d.Reports[i]; r.Kind {
		case dump.ReportPanic:
			fatal = r
		case dump.ReportReboot:
			if strings.Contains(r.Text, "estart") {
				ordered = r
			}
		}
	}
	switch {
	case fatal != nil:
		one := f.oneBoot(fatal.Boot)
		out.Cause, out.Remedy, out.Where, out.Function, out.Task = one.Cause, one.Remedy, one.Where, one.Function, one.Task
		out.Title = "reboot loop: " + fatal.Title
		out.Summary = "the machine started " + times + "; it resets after a panic: " + one.Summary
		out.Evidence = append(out.Evidence, f.reportEvidence("the panic before a restart", fatal))
		out.Notes = append(out.Notes, "boot with panic=0, or stop the machine at the reset, to keep the panic on the screen")
	case ordered != nil:
		out.Where = result.WhereUserspace
		out.Title = "reboot loop: user space restarts the machine"
		out.Summary = "the machine started " + times + " because user space restarted it in good order each time"
		out.Remedy = "find who asks for the restart: the last lines of user space before 'reboot: Restarting system'"
		out.Evidence = append(out.Evidence, f.reportEvidence("the ordered restart", ordered))
	default:
		out.Cause, out.Where = result.CauseTripleFault, result.WhereKernel
		out.Confidence = result.Likely
		out.Title = "reboot loop: reset without a word"
		out.Summary = "the machine started " + times + " and reset each time without a panic: a triple fault, a watchdog or firmware"
		out.Remedy = tripleFaultRemedy
	}
	return out
}

// oneBoot diagnoses one boot of a log alone.
func (f *facts) oneBoot(n int) result.Diagnosis {
	d := *f.d
	d.Sections, d.Loose, d.Reports = nil, nil, nil
	for _, r := range f.d.Reports {
		if r.Boot == n {
			r.Boot = 0
			d.Reports = append(d.Reports, r)
		}
	}
	d.Boot.Events = nil
	for _, e := range f.d.Boot.Events {
		if e.Boot == n {
			e.Boot = 0
			d.Boot.Events = append(d.Boot.Events, e)
		}
	}
	d.Boot.KernelCount = 1
	d.Boot.Kernels = nil
	return Diagnose(Input{Dump: &d, Scenario: f.in.Scenario})
}

// lockupPanic: a detector was told to panic.
func lockupPanic(f *facts) *result.Diagnosis {
	p := f.panicReport("softlockup: hung tasks", "Hard LOCKUP", "hard lockup", "RCU Stall", "Workqueue")
	if p == nil {
		return nil
	}
	out := lockup(f)
	if out == nil {
		out = &result.Diagnosis{Cause: result.CauseSoftLockup, Where: result.WhereKernel, Confidence: result.Likely, Title: p.Title, Summary: "a lockup detector stopped the kernel: " + p.Text}
		switch {
		case strings.Contains(p.Text, "ard"):
			out.Cause = result.CauseHardLockup
		case strings.Contains(p.Text, "RCU"):
			out.Cause = result.CauseRCUStall
		}
	}
	out.Kind = result.KindLockup
	out.Evidence = append(out.Evidence, f.reportEvidence("the panic", p))
	return out
}

// hungTaskPanic: khungtaskd was told to panic.
func hungTaskPanic(f *facts) *result.Diagnosis {
	p := f.panicReport("hung_task: blocked tasks")
	if p == nil {
		return nil
	}
	out := hungTask(f)
	if out == nil {
		return nil
	}
	out.Kind = result.KindPanic
	out.Evidence = append(out.Evidence, f.reportEvidence("the panic", p))
	return out
}

// oopsPanic: an oops that the kernel did not survive.
func oopsPanic(f *facts) *result.Diagnosis {
	p := f.panicReport("Fatal exception", "Fatal hardware error", "Oops", "kernel BUG", "panic_on_warn", "Attempted to kill")
	if p == nil {
		return nil
	}
	out := oops(f)
	if out == nil {
		return nil
	}
	out.Kind = result.KindPanic
	out.Evidence = append(out.Evidence, f.reportEvidence("the panic", p))
	if r := f.lastCrash(p.Offset); r != nil && out.Task != nil && r.Comm != "" && (r.PID != out.Task.PID || r.Comm != out.Task.Comm) {
		out.Confidence = result.Likely // the first crash is the cause of a later one, or has nothing to do with it
		out.Notes = append(out.Notes, fmt.Sprintf("what ended in the panic is a later crash, of %s (PID %d): %s", r.Comm, r.PID, r.Title))
	}
	return out
}

// lastCrash is the last crash of the last boot before an offset.
func (f *facts) lastCrash(before int64) (last *dump.Report) {
	for i := range f.d.Reports {
		if r := &f.d.Reports[i]; f.inLastBoot(r) && r.Offset < before && (r.Kind == dump.ReportOops || r.Kind == dump.ReportBug && isCrash(r)) {
			last = r
		}
	}
	return last
}

// plainPanic: any other panic.
func plainPanic(f *facts) *result.Diagnosis {
	p := f.panicReport()
	if p == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CausePanic, Where: result.WhereKernel, Confidence: result.Certain,
		Title: p.Title, Function: p.Func,
		Summary:  "the kernel panicked: " + strings.TrimPrefix(p.Text, "Kernel panic - not syncing: "),
		Evidence: []result.Evidence{f.reportEvidence("the panic", p)},
		Remedy:   "read the trace: the first function that is the kernel's own is " + orUnknown(p.Func),
	}
	if p.Comm != "" {
		out.Task = &result.Blocked{Comm: p.Comm, PID: p.PID, State: "R"}
	}
	if strings.Contains(p.Text, "sysrq triggered crash") {
		out.Where, out.Remedy = result.WhereUserspace, "none: the crash was asked for with sysrq-c"
		out.Summary = "the kernel panicked because sysrq-c asked it to"
	}
	return out
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

// pid1Crashed: systemd caught its own crash and stays there.
func pid1Crashed(f *facts) *result.Diagnosis {
	e, ok := f.d.Boot.Event(dump.EventFreezing)
	// One that waits for events is not frozen. It does so with epoll; frozen it calls
	// pause(), which is a ppoll of nothing where an arch has no such system call.
	if t := f.tasks.byPID[1]; !ok || t != nil && t.Has("ep_poll", "do_epoll_wait") {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseSystemdFreezes, Where: result.WhereUserspace, Confidence: result.Certain,
		Title:    "systemd gave up: freezing execution",
		Summary:  "systemd (PID 1) met an error that it cannot go on from and froze itself",
		Remedy:   "read systemd's lines before 'Freezing execution'; boot with systemd.log_level=debug systemd.log_target=console for more",
		Task:     &result.Blocked{Comm: "systemd", PID: 1, State: "S"},
		Evidence: []result.Evidence{f.eventEvidence("systemd's last words", e)},
	}
}
