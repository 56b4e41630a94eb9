package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/images/agentproto"
)

const tripleFaultRemedy = "run QEMU with -no-reboot -d int,cpu_reset to see the exception that killed it, and the kernel with earlyprintk or earlycon for its last words; a watchdog resets in the same way"

// orderedShutdown: user space or the kernel turned the machine off in good
// order.
func orderedShutdown(f *facts) *result.Diagnosis {
	r := f.report(dump.ReportReboot)
	if r == nil && f.in.Ending != EndingShutdown {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindShutdown, Cause: result.CauseShutdown, Where: result.WhereUserspace, Confidence: result.Certain,
		Title:   "the guest shut itself down",
		Summary: "the guest turned itself off in good order before the boot was complete",
		Remedy:  "look for who asked for it in the last lines of user space",
	}
	if r != nil {
		out.Title = "the guest shut itself down: " + strings.TrimPrefix(r.Text, "reboot: ")
		out.Evidence = []result.Evidence{f.reportEvidence("the kernel's last line", r)}
	}
	if e, ok := f.d.Boot.Event(dump.EventShutdown); ok {
		out.Evidence = append(out.Evidence, f.eventEvidence("user space shuts down", e))
	}
	return out
}

// tripleFault: the machine reset and the kernel said nothing of it.
func tripleFault(f *facts) *result.Diagnosis {
	if f.in.Ending != EndingReset {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindReset, Cause: result.CauseTripleFault, Where: result.WhereKernel, Confidence: result.Likely,
		Title:    "the machine reset without a word at stage " + string(f.d.Boot.Stage),
		Summary:  "the machine reset and the console shows neither a panic nor an ordered restart: a triple fault, or a watchdog",
		Remedy:   tripleFaultRemedy,
		Evidence: append(f.lastLine("the last line before the reset"), result.Evidence{What: "the machine reset", Offset: -1, Source: sourceQMP}),
	}
}

// lastLine is the last line of the console, nil if there is none.
func (f *facts) lastLine(what string) []result.Evidence {
	b := &f.d.Boot
	if b.LastText == "" {
		return nil
	}
	return []result.Evidence{{What: what, Lines: []string{b.LastText}, Offset: b.LastOffset, Source: sourceConsole}}
}

// minFlood is how much repetition is a flood, in bytes: some thousand lines.
const minFlood = 64 << 10

// consoleFlood: no dump tells, but the guest prints the same over and over.
func consoleFlood(f *facts) *result.Diagnosis {
	if f.in.Repeated < minFlood || f.end != nil {
		return nil
	}
	last := f.lastLine("the last of the repeated lines")
	if last == nil {
		return nil
	}
	text := dump.Normalise(f.d.Boot.LastText)
	where := result.WhereKernel
	if !strings.HasPrefix(strings.TrimLeft(f.d.Boot.LastText, "\r"), "[") {
		where = result.WhereUserspace
	}
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseFlood, Where: where, Confidence: result.Likely,
		Title:    "hang: console flood: " + text,
		Summary:  fmt.Sprintf("the guest prints the same over and over, %d KiB since its last progress", f.in.Repeated>>10),
		Remedy:   "find who prints the line, and why it never stops; with `quiet` or a lower console log level the boot may go on",
		Evidence: append(last, f.vcpuEvidence()...),
	}
}

// spinning: no dump tells, but a virtual CPU never leaves a kernel function.
func spinning(f *facts) *result.Diagnosis {
	var v *VCPU
	for i := range f.in.VCPUs {
		c := &f.in.VCPUs[i]
		if !c.Idle && !c.User && c.Symbol != "" && c.BusyFraction >= 0.9 {
			v = c
			break
		}
	}
	if v == nil || f.end != nil {
		return nil
	}
	fn := functionOf(v.Symbol)
	if delays[fn] && f.d.Boot.Stage.Rank() < dump.StageEarly.Rank() {
		return &result.Diagnosis{
			Kind: result.KindEarlyDeath, Cause: result.CauseSilent, Where: result.WhereKernel, Confidence: result.Likely,
			Title:    "silent: the kernel waits in a delay loop before its console is up",
			Summary:  "the kernel waits in a delay loop (" + fn + ") and has printed nothing: so a panic ends that comes before the console is up",
			Remedy:   "boot with earlycon (arm64) or earlyprintk=serial,keep (x86); what dies before that shows in a debugger only: -s -S and a breakpoint at panic",
			Evidence: f.vcpuEvidence(),
		}
	}
	return &result.Diagnosis{
		Kind: result.KindLockup, Cause: result.CauseSpin, Where: result.WhereKernel, Confidence: result.Likely,
		Title: "a virtual CPU spins in " + fn, Function: fn,
		Summary:  "a virtual CPU was found in " + fn + " at full load, and nothing new is on the console",
		Remedy:   "look for an endless loop in " + fn + "; more samples tell whether it is there every time",
		Evidence: append(f.vcpuEvidence(), f.lastLine("the last line of the console")...),
	}
}

// delays are the functions in which udelay and mdelay pass their time
// (arch/arm64/lib/delay.c, arch/x86/lib/delay.c); panic's endless loop is of
// mdelay (kernel/panic.c).
var delays = map[string]bool{
	"__delay": true, "delay_loop": true, "delay_tsc": true, "__const_udelay": true, "__udelay": true, "__ndelay": true,
	"arch_counter_get_cntvct": true, "arch_timer_read_cntvct_el0": true, "__arch_counter_get_cntvct": true,
	"arch_timer_evtstrm_available": true, "read_tsc": true,
}

// functionOf is the function of a symbol such as "spin_here.isra.0+0x5/0x6b".
func functionOf(symbol string) string {
	name, _, _ := strings.Cut(symbol, "+")
	return model.BaseName(name)
}

func (f *facts) vcpuEvidence() []result.Evidence {
	if len(f.in.VCPUs) == 0 {
		return nil
	}
	e := result.Evidence{What: "the virtual CPUs", Offset: -1, Source: sourceRegs}
	for i, c := range f.in.VCPUs {
		if i == 16 {
			break
		}
		what := c.Symbol
		switch {
		case c.Idle:
			what = "idle (" + orUnknown(c.Symbol) + ")"
		case c.User:
			what = "user mode"
		}
		e.Lines = append(e.Lines, fmt.Sprintf("CPU %d: pc 0x%x, %s, %.0f %% busy", i, c.PC, orUnknown(what), c.BusyFraction*100))
	}
	return []result.Evidence{e}
}

// alive says whether something else than the console shows that the kernel
// runs: an agent report, or a virtual CPU that idles or is in user mode.
func (f *facts) alive() bool {
	if len(f.in.Agent) > 0 {
		return true
	}
	for _, c := range f.in.VCPUs {
		if c.User || c.Idle && c.Symbol != "" {
			return true
		}
	}
	return false
}

// silent: the kernel never spoke. That it is dead is only said when nothing
// shows that it lives.
func silent(f *facts) *result.Diagnosis {
	b := &f.d.Boot
	if b.Stage.Rank() > dump.StageEarly.Rank() || f.d.Records > 0 && b.KernelCount > 0 && b.KernelRecords > 3 {
		return nil
	}
	if b.Stage == dump.StageFirmware && b.FirmwareCount == 0 && f.in.Ending == "" && len(b.Events) == 0 {
		return nil // a text from elsewhere that no firmware and no kernel wrote
	}
	if b.Stage == dump.StageNone && f.d.Records > 0 {
		return nil // a piece of a log
	}
	ev := append(f.lastLine("the last line of the console"), f.vcpuEvidence()...)
	ev = append(ev, f.agentEvidence()...)
	if f.alive() {
		out := &result.Diagnosis{
			Kind: result.KindHang, Cause: result.CauseWrongConsole, Where: result.WhereHarness, Confidence: result.Likely,
			Title:    "the kernel runs, but not on this console",
			Summary:  "the console is silent although the kernel runs: its console is another device",
			Remedy:   "set console= to the device that is read" + consoleArg(f),
			Evidence: ev,
		}
		if len(f.in.Agent) > 0 {
			out.Confidence = result.Certain
		}
		return out
	}
	out := &result.Diagnosis{Kind: result.KindEarlyDeath, Cause: result.CauseSilent, Where: result.WhereKernel, Confidence: result.Likely, Evidence: ev}
	if e, ok := b.Event(dump.EventStuckFirmware); ok {
		out.Cause, out.Where, out.Confidence = result.CauseFirmware, result.WhereFirmware, result.Certain
		out.Title = "firmware found nothing to boot"
		out.Summary = "the firmware found no bootable device: " + e.Text
		out.Remedy = "check the boot disk and its boot entries, or boot the kernel directly"
		return out
	}
	if e, ok := b.Event(dump.EventLoaderError); ok {
		out.Where, out.Confidence = result.WhereFirmware, result.Certain
		out.Title = "the EFI stub failed"
		out.Summary = "the kernel's EFI stub failed: " + e.Text
		out.Evidence = append(out.Evidence, f.eventEvidence("the EFI stub", e))
		return out
	}
	out.Remedy = "check console= for this machine" + consoleArg(f) + ", boot with earlyprintk=serial,keep (x86) or earlycon (arm64) to see earlier output, and check that the image is for this machine"
	switch b.Stage {
	case dump.StageNone:
		out.Title = "silent: not one byte on the console"
		out.Summary = "nothing at all came over the console: the kernel died before it spoke, or speaks elsewhere"
		out.Where = result.WhereUnknown
	case dump.StageFirmware:
		out.Title = "silent after the firmware"
		out.Summary = "after the firmware nothing came: the kernel was not entered, died before it spoke, or speaks elsewhere"
		out.Where = result.WhereUnknown
	case dump.StageLoader:
		out.Title = "silent after the EFI stub or boot loader"
		out.Summary = "the boot loader handed over and nothing came after it"
	case dump.StageDecompress:
		out.Title = "silent after decompression"
		out.Summary = "the kernel unpacked itself and nothing came after it"
	default:
		out.Title = "silent after the kernel's first lines"
		out.Summary = "the kernel printed its first lines and nothing after them"
	}
	return out
}

// startUpSleeps: the kernel has not come to /init, every virtual CPU idles, and
// no task dump tells which wait does not end: no sysrq route reaches a kernel
// whose keyboard and console drivers are not up. A kernel that has turned off
// its boot console may merely speak elsewhere.
func startUpSleeps(f *facts) *result.Diagnosis {
	b, in := &f.d.Boot, &f.in
	early := b.Stage == dump.StageEarly || b.Stage == dump.StageInitcalls
	if !f.allRest() || !early || len(in.Agent) > 0 || f.end != nil || strings.Contains(b.LastText, "bootconsole") {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseKernelWait, Where: result.WhereKernel, Confidence: result.Likely,
		Title:    "hang: the kernel's start-up sleeps at stage " + string(b.Stage),
		Summary:  "every virtual CPU idles and /init was not started: the kernel's own start-up waits for something that does not come; which function waits is not known",
		Remedy:   "boot once more with initcall_debug ignore_loglevel: the last initcall that is called and does not return is the one that waits",
		Evidence: append(f.vcpuEvidence(), f.lastLine("the last line of the console")...),
	}
}

// handedOver: the last word of the kernel is that it turned its boot console
// off, and none of its consoles is a serial line: it speaks elsewhere.
func handedOver(f *facts) *result.Diagnosis {
	b := &f.d.Boot
	if f.end != nil || !strings.Contains(b.LastText, "bootconsole [") || !strings.HasSuffix(b.LastText, "disabled") {
		return nil
	}
	var consoles []string
	for w := range strings.FieldsSeq(f.cmdline()) {
		if v, ok := strings.CutPrefix(w, "console="); ok {
			name, _, _ := strings.Cut(v, ",")
			if f.in.Scenario != nil && name == f.in.Scenario.Console || f.in.Scenario == nil && !strings.HasPrefix(name, "tty0") && name != "tty" {
				return nil // this may be the one that is read
			}
			consoles = append(consoles, name)
		}
	}
	where := "another device"
	if len(consoles) > 0 {
		where = strings.Join(consoles, " and ")
	}
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseWrongConsole, Where: result.WhereHarness, Confidence: result.Likely,
		Title:    "the kernel speaks on another console",
		Summary:  "the kernel turned off its boot console, and nothing came after that: it prints on " + where + ", which is not what is read",
		Remedy:   "set console= to the device that is read" + consoleArg(f) + "; keep_bootcon keeps the boot console as well",
		Evidence: f.lastLine("the kernel's last line here"),
	}
}

func consoleArg(f *facts) string {
	if f.in.Scenario != nil && f.in.Scenario.Console != "" {
		return " (console=" + f.in.Scenario.Console + ")"
	}
	return ""
}

// booted: the boot came to its end, and nothing else fired.
func booted(f *facts) *result.Diagnosis {
	b := &f.d.Boot
	n := len(f.in.Agent)
	agent := n > 0 && (f.in.Agent[n-1].Stage == agentproto.StageMultiUser || f.in.Agent[n-1].Stage == agentproto.StageUserspace)
	target := false
	for _, e := range b.All(dump.EventTarget) {
		target = target || strings.HasPrefix(e.Subject, "multi-user.target") || strings.HasPrefix(e.Subject, "Multi-User") || strings.HasPrefix(e.Subject, "graphical.target")
	}
	if b.Stage != dump.StageLogin && !target && !agent || f.in.Ending == EndingSilent && !agent {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindBooted, Cause: result.CauseNone, Where: result.WhereUnknown, Confidence: result.Likely,
		Title:    "no fault found: the boot came to its end",
		Summary:  "the boot came to its end and nothing in the facts shows a fault",
		Evidence: append(f.lastLine("the last line of the console"), f.agentEvidence()...),
	}
}

// unknown is the honest answer, with what there is.
func unknown(f *facts) *result.Diagnosis {
	out := &result.Diagnosis{
		Kind: result.KindUnknown, Cause: result.CauseUnknown, Where: result.WhereUnknown, Confidence: result.Unknown,
		Title:   "unknown, last stage " + string(f.d.Boot.Stage),
		Summary: "the facts do not say why the boot stopped; the last stage was " + string(f.d.Boot.Stage),
		Remedy:  "take a task dump of the hung guest: sysrq-9, then w, t and l",
	}
	if f.in.Ending == EndingSilent || f.in.Ending == EndingDeadline {
		out.Kind = result.KindHang
	}
	if f.end != nil {
		out.Task = &result.Blocked{Comm: f.end.Comm, PID: f.end.PID, State: f.end.State}
		out.Function = f.wait.fn
		if f.end.Syscall != nil {
			out.Syscall = f.end.Syscall.Name
		}
		out.Evidence = append(out.Evidence, f.taskEvidence(f.end))
		out.Remedy = "look at the stack of " + f.end.String() + " in the evidence"
		if f.chain.fromInit && f.end.PID == 1 {
			out.Summary = fmt.Sprintf("%s is idle%s and nothing under it is blocked; the dump does not say what it waits for", f.end.String(), f.where())
			if s := f.tasks.section; s != nil && s.Kind == dump.SectionState {
				out.Where = result.WhereUserspace
			}
		}
	}
	out.Evidence = append(out.Evidence, f.lastLine("the last line of the console")...)
	if out.Kind != result.KindHang || out.Task == nil {
		out.Evidence = append(out.Evidence, f.vcpuEvidence()...) // finish adds it otherwise
	}
	out.Evidence = append(out.Evidence, f.agentEvidence()...)
	return out
}
