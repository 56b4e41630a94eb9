package dump

import (
	"bytes"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/phrase"
)

// ReportKind is the kind of a kernel report.
type ReportKind string

// The kinds of kernel reports.
const (
	ReportPanic     ReportKind = "panic"
	ReportOops      ReportKind = "oops"
	ReportBug       ReportKind = "bug"
	ReportWarning   ReportKind = "warning"
	ReportKASAN     ReportKind = "kasan" // and the other sanitizers
	ReportLockdep   ReportKind = "lockdep"
	ReportHungTask  ReportKind = "hung-task"
	ReportSoft      ReportKind = "soft-lockup"
	ReportHard      ReportKind = "hard-lockup"
	ReportRCU       ReportKind = "rcu-stall"
	ReportWorkqueue ReportKind = "workqueue-lockup"
	ReportOOM       ReportKind = "oom"
	ReportPageAlloc ReportKind = "page-allocation" // it failed
	ReportIRQ       ReportKind = "irq"             // nobody cared
	ReportCFI       ReportKind = "cfi"             // an indirect call to a function of another type
	ReportReboot    ReportKind = "reboot"          // ordered: restart, power off, halt
)

// Report is one report of the kernel.
type Report struct {
	Kind ReportKind `json:"kind"`
	// Title is one line without addresses and process IDs, in the manner of
	// syzbot: "BUG: soft lockup in FUNC".
	Title string `json:"title"`
	// Text is the kernel's own first line.
	Text string `json:"text"`
	// Func is the first function of the trace that is not generic, see Guilty.
	Func string `json:"func,omitempty"`
	// IP is the function of the instruction pointer, where printed.
	IP    string `json:"ip,omitempty"`
	Comm  string `json:"comm,omitempty"`
	PID   int    `json:"pid,omitempty"`
	CPU   int    `json:"cpu"`
	State string `json:"state,omitempty"`
	// Starved is RCU's grace-period kthread, of a stall that it caused by not getting
	// a CPU; Comm and Func are then who ran there instead.
	Starved string `json:"starved,omitempty"`
	// Unwoken is that kthread where the timer that should have woken it did not fire
	// (kernel/rcu/tree_stall.h, rcu_check_gp_kthread_expired_fqs_timer).
	Unwoken string `json:"unwoken,omitempty"`
	// Seconds is how long it has lasted, according to the kernel.
	Seconds int           `json:"seconds,omitempty"`
	Frames  []model.Frame `json:"frames,omitempty"`
	Time    float64       `json:"time,omitempty"`
	Offset  int64         `json:"offset"`
	End     int64         `json:"end"`
	Caller  model.Caller  `json:"-"`
	// Boot is the number of the boot in the log, from 0 (see Boot.Kernels).
	Boot int `json:"boot"`

	said reportWords
}

// reportStarts are the beginnings of reports, the more specific first.
var reportStarts = []struct {
	text string
	kind ReportKind
}{
	{"Kernel panic - not syncing: ", ReportPanic},
	{"BUG: soft lockup", ReportSoft},
	{"BUG: workqueue lockup", ReportWorkqueue},
	{"BUG: KASAN: ", ReportKASAN},
	{"BUG: KFENCE: ", ReportKASAN},
	{"BUG: KMSAN: ", ReportKASAN},
	{"BUG: KCSAN: ", ReportKASAN},
	{"UBSAN: ", ReportKASAN},
	{"BUG: kernel NULL pointer dereference", ReportOops},
	{"BUG: unable to handle ", ReportOops},
	{"BUG: Unable to handle kernel ", ReportOops},
	{"BUG: Kernel NULL pointer dereference", ReportOops},
	{"Unable to handle kernel ", ReportOops},
	{"Unhandled fault:", ReportOops},
	{"general protection fault", ReportOops},
	{"segment-related general protection fault", ReportOops},
	{"Internal error: ", ReportOops},
	{"Oops: ", ReportOops},
	{"PANIC: double fault", ReportOops},
	{"double fault:", ReportOops},
	{"divide error:", ReportOops},
	{"divide_error:", ReportOops},
	{"invalid opcode:", ReportOops},
	{"stack segment:", ReportOops},
	{"int3:", ReportOops},
	{"Alignment trap: ", ReportOops},
	{"Bad mode in ", ReportOops},
	{"SError Interrupt on CPU", ReportOops},
	{"kernel BUG at ", ReportBug},
	{"Kernel BUG at ", ReportBug},
	{"BUG: Invalid wait context", ReportLockdep},
	{"BUG: bad unlock balance", ReportLockdep},
	{"BUG: held lock freed", ReportLockdep},
	{"BUG: lock held when returning to user space", ReportLockdep},
	{"BUG: ", ReportBug},
	{unreferenced, ReportBug},
	{rustPanic, ReportBug},
	{"trusty: panic", ReportBug},
	{"Watchdog detected hard LOCKUP on cpu", ReportHard},
	{"WARNING: possible circular locking dependency", ReportLockdep},
	{"WARNING: possible recursive locking", ReportLockdep},
	{"WARNING: possible irq lock inversion", ReportLockdep},
	{"WARNING: inconsistent lock state", ReportLockdep},
	{"WARNING: bad unlock balance", ReportLockdep},
	{"WARNING: held lock freed", ReportLockdep},
	{"WARNING: lock held when returning to user space", ReportLockdep},
	{"WARNING: Nested lock was not taken", ReportLockdep},
	{"WARNING: suspicious RCU usage", ReportLockdep},
	{"WARNING: SOFTIRQ-", ReportLockdep},
	{"WARNING: HARDIRQ-", ReportLockdep},
	{"WARNING: RECLAIM_FS-", ReportLockdep},
	{"WARNING: CPU: ", ReportWarning},
	{"WARNING: ", ReportWarning},
	{"Out of memory: Kill", ReportOOM},
	{"Memory cgroup out of memory: Kill", ReportOOM},
	{"CFI failure ", ReportCFI},
	{"bad: scheduling from the idle thread", ReportBug}, // kernel/sched/idle.c
	{"sysfs: cannot create duplicate ", ReportWarning},  // fs/sysfs/dir.c, with a trace
	{"unregister_netdevice: waiting for ", ReportWarning},
	{"VFS: Close: file count is 0", ReportBug},
	{"VFS: Busy inodes after unmount", ReportBug},
	{"reboot: Restarting system", ReportReboot},
	{"reboot: Power down", ReportReboot},
	{"reboot: System halted", ReportReboot},
	{"Restarting system.", ReportReboot},
	{"Power down.", ReportReboot},
	{"System halted.", ReportReboot},
}

// unreferenced begins an object in kmemleak's list (mm/kmemleak.c, print_unreferenced).
const unreferenced = "unreferenced object 0x"

// advice are warnings of the kernel about the machine or its settings, no reports.
var advice = []string{
	"WARNING: workqueue cpumask: ", "WARNING: the mand mount option ", "WARNING: The mand mount option ", "WARNING: Unprivileged eBPF ",
	"WARNING: fbcon: Driver ", "WARNING: See http", "WARNING: kernel not compiled with ", "WARNING: Unsupported flag value(s) ",
}

// reportPrefixes come before some of them, depending on the version: `NMI watchdog: ` 4.3 to
// 4.9, `watchdog: ` from 4.15, `rcu: ` from 4.19.
var reportPrefixes = []string{"NMI watchdog: ", "watchdog: ", "rcu: ", "traps: "}

// midLine are reports that are also recognised after other text: the kernel, or
// another writer, did not end the line before it (arch/x86/mm/kasan_init_64.c until
// 4.14), or a program had begun one.
var midLine = [][]byte{
	userFault,
	[]byte("BUG: KASAN: "), []byte("BUG: unable to handle "), []byte("BUG: kernel NULL pointer dereference"),
	[]byte("kernel BUG at "), []byte("WARNING: CPU: "), []byte("Kernel panic - not syncing: "), []byte("Unable to handle kernel "),
	[]byte("INFO: task "), []byte("INFO: rcu_"), []byte("BUG: sleeping function called"), []byte("BUG: soft lockup"),
	[]byte("WARNING: possible "), []byte("BUG: memory leak"),
}

// userFault is a program's, too: the kernel adds its instruction pointer then.
var userFault, userIP = []byte("general protection fault"), []byte(" ip:")

var midLineIndex = func() *phrase.Index {
	var anchors []phrase.Anchor
	for _, s := range midLine {
		anchors = append(anchors, phrase.Anchor{Text: s})
	}
	for _, w := range wordKinds {
		anchors = append(anchors, phrase.Anchor{Text: w.text})
	}
	return phrase.NewIndex(anchors)
}()

// wordKinds are reports known by words behind a name, which begins the line.
var wordKinds = []struct {
	text []byte
	kind ReportKind
}{
	{[]byte(" invoked oom-killer: "), ReportOOM},
	{[]byte(": page allocation failure"), ReportPageAlloc},
	{[]byte(": vmalloc error: size "), ReportPageAlloc},
}

// reportIn returns what follows other text on a line and begins a report, nil for
// nothing. A quoted report, in a message about it, is none. kind is that of the whole
// line, where words inside it say that it is a report.
func reportIn(t []byte) (in []byte, kind ReportKind) {
	if bytes.IndexByte(t, ':') < 0 || hasPrefix(t, "---[ end ") {
		return nil, ""
	}
	first, at := len(midLine), 0
	midLineIndex.Each(t, func(i int) {
		if w := i - len(midLine); w >= 0 && kind == "" && bytes.Contains(t, wordKinds[w].text) {
			kind = wordKinds[w].kind
		}
		if i >= first {
			return
		}
		k := bytes.Index(t, midLine[i])
		quoted := k > 0 && (t[k-1] == '"' || t[k-1] == '\'' || t[k-1] == '_')
		if k <= 0 || quoted || i == 0 && bytes.Contains(t[k:], userIP) {
			return
		}
		first, at = i, k
	})
	switch {
	case kind != "":
		return t, kind
	case at == 0:
		return nil, ""
	}
	return t[at:], reportKind(t[at:])
}

// unprefixed takes off what stands before the first words of a report.
func unprefixed(t []byte) []byte {
	for _, x := range reportPrefixes {
		if hasPrefix(t, x) {
			t = t[len(x):]
		}
	}
	if hasPrefix(t, "CPU") {
		rest := bytes.TrimPrefix(t[3:], []byte(" "))
		switch _, n := parseDec(rest); {
		case n == 0:
		case hasPrefix(rest[n:], ": "): // `watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 0`, 6.8
			t = rest[n+2:]
		case hasPrefix(rest[n:], " Unable to handle "): // MIPS, LoongArch
			t = rest[n+1:]
		}
	}
	if hasPrefix(t, "[ ") && t[len(t)-1] == ']' { // lockdep's, all of them before 4.12
		t = trim(t[2 : len(t)-1])
	}
	return t
}

// report opens a report if the line begins one.
func (p *parser) report(b []byte, r Record) bool {
	t := unprefixed(b)
	if len(t) < 5 || r.Source == SourceUserspace && isUserTag(b) {
		return false
	}
	if hasPrefix(t, "INFO: ") {
		return p.info(t, r)
	}
	if p.halfTask == r.Offset && p.halfTask > 0 && bytes.Contains(t, []byte(" blocked for more than ")) {
		return p.taskInfo(t, append([]byte("INFO: task "), t...), r)
	}
	kind := reportKind(t)
	if kind == "" {
		whole := t
		switch t, kind = reportIn(t); {
		case t == nil && r.HasTime && dies(whole):
			t, kind = whole, ReportOops
		case t == nil || r.Source == SourceUserspace && p.stamped:
			return false
		case hasPrefix(t, "INFO: "):
			return p.info(t, r)
		}
	}
	if p.merge(kind, t, r) || p.repeated(t) {
		return true
	}
	if kind == ReportWarning && slices.ContainsFunc(advice, func(s string) bool { return hasPrefix(t, s) }) {
		return false
	}
	if kind == ReportWarning && hasPrefix(t, "WARNING: ") && !r.HasTime && !bytes.Contains(t, []byte(" at ")) {
		return false // programs print such lines
	}
	rep := Report{Kind: kind, Text: clip(t)}
	switch kind {
	case ReportSoft:
		lockupFacts(t, &rep)
	case ReportHard:
		hardFacts(t, &rep)
	case ReportWarning:
		rep.IP = string(ipSymbol(t))
	case ReportKASAN:
		rep.IP = string(ipSymbol(t))
	case ReportOOM:
		oomFacts(t, &rep)
	}
	i := p.addReport(rep, r)
	if i < 0 || kind == ReportReboot || hasPrefix(t, netdev) { // no trace follows
		return true
	}
	bl := p.reportBlock(i, -1)
	switch kind {
	case ReportSoft, ReportHard, ReportWorkqueue:
		bl.want, p.stuck = i, i
	case ReportPanic:
		bl.also = p.panicsFor(t, r.Caller)
	}
	p.start(r.Caller, bl)
	return true
}

// panicsFor returns the report that a panic carries out before its trace was printed
// (panic_on_warn until 4.x), -1 for none: the panic's trace is that of both.
func (p *parser) panicsFor(t []byte, c model.Caller) int {
	bl := p.block(c)
	if bl == nil || bl.report < 0 || len(bl.frames) > 0 || !bytes.Contains(t, []byte("panic_on_warn set")) {
		return -1
	}
	return bl.report
}

// startsWith are the reportStarts that begin with a byte, in order.
var startsWith = func() (at [256][]int) {
	for i, s := range reportStarts {
		at[s.text[0]] = append(at[s.text[0]], i)
	}
	return at
}()

// reportKind returns the kind of report that a line begins, "" for none; see also
// reportIn.
func reportKind(t []byte) ReportKind {
	for _, i := range startsWith[t[0]] {
		if s := &reportStarts[i]; hasPrefix(t, s.text) {
			return s.kind
		}
	}
	switch {
	case (hasPrefix(t, "CPU ") || hasPrefix(t, "Watchdog CPU:")) && bytes.Contains(t, []byte("ard LOCKUP")): // powerpc, since 4.14 and before
		return ReportHard
	case hasPrefix(t, "BUG ") && bytes.Contains(t, []byte("ainted): ")): // mm/slub.c, slab_bug
		return ReportBug
	case hasPrefix(t, "irq ") && bytes.Contains(t, []byte(": nobody cared")):
		return ReportIRQ
	}
	return ""
}

// dies says that a line ends, as the first of each architecture's die() does, with
// the number of the crash and words in capitals: "illegal operation: 0001 ilc:1 [#1] SMP"
// (s390), "Kernel bug detected[#1]:" (MIPS), "Oops - illegal instruction [#1]" (riscv).
func dies(t []byte) bool {
	_, rest, ok := bytes.Cut(t, []byte("[#"))
	if !ok || len(rest) < 2 || !isDigit(rest[0]) || rest[1] != ']' || len(rest) > 80 {
		return false
	}
	for _, c := range rest[2:] {
		if c >= 'a' && c <= 'z' {
			return false
		}
	}
	return true
}

// merge says whether a line belongs to the report that is already open: x86 prints
// the cause first and then `Oops:`, arm64 the address and then `Internal error:`, and
// a failed check of an indirect call is a warning or an exception.
func (p *parser) merge(kind ReportKind, t []byte, r Record) bool {
	follows := kind == ReportOops && (hasPrefix(t, "Oops: ") || hasPrefix(t, "Internal error: ") || hasPrefix(t, "Unhandled fault: ") || hasPrefix(t, "invalid opcode:") || dies(t))
	bl := p.block(r.Caller)
	if bl == nil || bl.report < 0 || len(bl.frames) > 0 {
		return false
	}
	rep := &p.d.Reports[bl.report]
	switch {
	case follows && (rep.Kind == ReportOops || rep.Kind == ReportBug || rep.Kind == ReportKASAN):
	case kind == ReportBug && rep.Text == "BUG: memory leak" && hasPrefix(t, unreferenced):
	case kind == ReportWarning && strings.HasPrefix(rep.Text, "BUG: Dentry "): // fs/dcache.c, umount_check
		rep.IP = string(ipSymbol(t))
	case kind == ReportBug && isRustPanic(rep.Text) && isBugAt(string(t)):
	case follows && rep.Kind == ReportCFI: // no warning, then
		rep.Kind = ReportOops
	case kind == ReportWarning && rep.Kind == ReportCFI:
		rep.IP = string(ipSymbol(t))
	case kind == ReportKASAN && rep.Kind == ReportKASAN && strings.HasSuffix(rep.Text, "[inline]"):
		rep.Text, rep.IP = clip(t), string(ipSymbol(t)) // decoded: one line for each inlined function
	default:
		return false
	}
	rep.End = r.End
	return true
}

// cpuFrom1 reads a CPU number and counts it from 1, for addReport; 0 means none.
func cpuFrom1(b []byte) int {
	n, k := parseDec(b)
	if k == 0 {
		return 0
	}
	return n + 1
}

// addReport stores a report and returns its index, -1 when there are too many.
// rep.CPU counts from 1 here, 0 meaning unknown.
func (p *parser) addReport(rep Report, r Record) int {
	if len(p.d.Reports) >= MaxReports {
		p.d.Dropped++
		// Keep the newest panics: they matter most.
		if rep.Kind != ReportPanic && rep.Kind != ReportReboot {
			return -1
		}
		p.closeAll()
		p.work += MaxReports / 2
		p.d.Reports = append(p.d.Reports[:MaxReports/2], p.d.Reports[MaxReports/2+1:]...)
		p.stuck = -1
	}
	rep.CPU--
	rep.Time, rep.Offset, rep.End, rep.Caller = r.Time, r.Offset, r.End, r.Caller
	rep.Boot = max(0, p.d.Boot.KernelCount-1)
	p.parked = -1
	p.d.Reports = append(p.d.Reports, rep)
	return len(p.d.Reports) - 1
}
