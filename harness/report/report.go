// Package report prints a Result, and a bisection's Report, as text for people. It
// uses nothing but those documents.
package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// Style is how text is printed.
type Style struct {
	// Colour uses ANSI colours: for a terminal only.
	Colour bool
}

const (
	red, green, yellow, bold, plain = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
)

func (s Style) paint(colour, text string) string {
	if !s.Colour {
		return text
	}
	return colour + text + plain
}

// Verdict is the outcome in one word: green if it was expected, else red.
func (s Style) Verdict(r *result.Result) string {
	word := strings.ToUpper(safe(string(r.Outcome)))
	if r.Unclean {
		word += unclean
	}
	if r.Expected {
		return s.paint(green, word)
	}
	return s.paint(red, word)
}

// why is the sentence on the outcome, with its confidence unless that is certain.
func why(r *result.Result) string {
	if r.Confidence == "" || r.Confidence == result.Certain {
		return safe(r.Why)
	}
	return fmt.Sprintf("%s (%s)", safe(r.Why), safe(string(r.Confidence)))
}

// Text writes the report on one boot.
func Text(w io.Writer, r *result.Result, s Style) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s  %s  %s  after %s", s.Verdict(r), safe(release(r)), safe(r.Scenario.Name), seconds(r.Times.Verdict))
	if r.Outcome != r.Scenario.ExpectedOutcome() || r.Scenario.ExpectedOutcome() != scenarios.Booted {
		fmt.Fprintf(b, " (expected: %s)", safe(string(r.Scenario.ExpectedOutcome())))
	}
	b.WriteByte('\n')
	field(b, "why", why(r))
	if r.Diagnosis != nil {
		Diagnosis(b, *r.Diagnosis, s)
	}
	if k := r.KnownFailure; k != nil {
		field(b, "known", strings.TrimSpace(safe(k.Reason+" "+k.Link))+": the run does not fail")
	}
	findings(b, r.Findings, 1, s)
	modules(b, r)
	second(b, r)
	times(b, r)
	captures(b, r)
	probes(b, r)
	field(b, "ran on", fmt.Sprintf("QEMU %s, %s (%s)", safe(r.Host.QEMUVersion), safe(string(r.Host.Accel)), console.SanitizeMax(r.Host.AccelWhy, 100)))
	guestFacts(b, r)
	watched(b, r)
	for _, n := range r.Notes {
		field(b, "note", safe(n))
	}
	kept(b, r)
	field(b, "files", console.Sanitize(r.Dir))
	_, err := io.WriteString(w, b.String())
	return err
}

// release is the kernel's; of a disk's own kernel that which the guest told.
func release(r *result.Result) string {
	if k := r.Kernel.Running; r.Kernel.Release == "" && k != nil {
		return k.Release
	}
	if r.Watched != nil {
		return cmp.Or(r.Kernel.Release, "an unknown kernel")
	}
	return cmp.Or(r.Kernel.Release, "the disk's kernel")
}

func guestFacts(b *strings.Builder, r *result.Result) {
	if len(r.Reports) == 0 {
		words := []string{}
		if r.Stage != "" && !r.Scenario.HasAgent() {
			words = append(words, fmt.Sprintf("stage %s, by the console", safe(string(r.Stage))))
		}
		if k := r.Kernel.Running; k != nil {
			words = append(words, fmt.Sprintf("kernel %s, build ID %s, by its memory", safe(k.Release), safe(cmp.Or(k.BuildID, "none"))))
		}
		if len(words) > 0 {
			field(b, "guest", strings.Join(words, "; "))
		}
		return
	}
	last := r.Reports[len(r.Reports)-1]
	crng := "not ready"
	if last.CRNG {
		crng = "ready"
		if last.CRNGReadyAt > 0 {
			crng = fmt.Sprintf("ready at %.1f s", last.CRNGReadyAt)
		}
	}
	fips := "off"
	if last.FIPS != nil && *last.FIPS == 1 {
		fips = "on"
	}
	field(b, "guest", fmt.Sprintf("%s at %.1f s, hwrng %s, crng %s, FIPS %s", safe(string(last.Stage)), last.Uptime, safe(last.HWRNG), crng, fips))
}

// Diagnosis writes the part of the report that says where the boot is blocked and
// why.
func Diagnosis(b *strings.Builder, d result.Diagnosis, s Style) {
	field(b, "title", s.paint(bold, safe(d.Title)))
	cause := safe(string(d.Cause))
	if d.Cause != result.CauseUnknown {
		cause += " (" + safe(string(d.Confidence)) + ")"
	}
	if d.Where != result.WhereUnknown {
		cause += ", in " + safe(string(d.Where))
	}
	field(b, "cause", cause)
	field(b, "what", safe(d.Summary))
	if len(d.Chain) > 0 {
		var links []string
		for _, l := range d.Chain {
			links = append(links, link(l))
		}
		field(b, "chain", strings.Join(links, "\n→ "))
	}
	if d.Remedy != "" {
		field(b, "fix", s.paint(yellow, safe(d.Remedy)))
	}
	for _, e := range d.Evidence {
		text := safe(e.What) + " (" + safe(e.Source) + ")"
		for i, l := range e.Lines {
			if i == maxEvidence {
				text += fmt.Sprintf("\n  … %d more lines", len(e.Lines)-i)
				break
			}
			text += "\n  | " + safe(l)
		}
		field(b, "evidence", text)
	}
	if d.Compared != nil {
		field(b, "sources", safe(d.Compared.String()))
	}
	for _, n := range d.Notes {
		field(b, "note", safe(n))
	}
	for _, ref := range d.References {
		field(b, "see", safe(ref))
	}
}

const maxEvidence = 12

func link(l result.Link) string {
	s := fmt.Sprintf("%s (PID %d, state %s", safe(l.Comm), l.PID, safe(l.State))
	if l.Source != "" {
		s += "; " + safe(l.Source)
	}
	s += ")"
	if l.Syscall != "" {
		s += " " + safe(l.Syscall) + "()"
	}
	if l.Func != "" {
		s += " in " + safe(l.Func)
	}
	if l.Why != "" {
		s += ": " + safe(l.Why)
	}
	if l.Object != "" {
		s += " (" + safe(l.Object) + ")"
	}
	return s
}

func times(b *strings.Builder, r *result.Result) {
	if r.Times.Stalled == 0 {
		return
	}
	noticed := r.Times.Verdict
	for _, st := range r.Stalls {
		if !st.WentOn {
			noticed = st.Noticed
		}
	}
	field(b, "times", fmt.Sprintf("stalled at %s, noticed %s later, diagnosed %s after the stall",
		seconds(r.Times.Stalled), seconds(noticed-r.Times.Stalled), seconds(r.Times.Diagnosed-r.Times.Stalled)))
}

// captures says what the attempts to look into the stalled guest gave.
func captures(b *strings.Builder, r *result.Result) {
	if len(r.Stalls) == 0 {
		return
	}
	st := r.Stalls[len(r.Stalls)-1]
	var said []string
	for _, a := range st.Attempts {
		word := string(a.Yield)
		switch {
		case a.Yield == result.Captured:
			word = "ok"
		case a.Yield == result.NoAnswer:
			word = "no answer"
		case a.Layer != "":
			word += " by " + a.Layer
		}
		said = append(said, safe(strings.TrimSpace(string(a.Route)+" "+a.Key)+": "+word))
	}
	if len(said) > 0 {
		field(b, "sysrq", strings.Join(said, ", "))
	}
	if m := st.Memory; m != nil {
		field(b, "memory", memory(m))
	}
	if pc := programCounters(st); pc != "" {
		field(b, "vCPUs", pc)
	}
}

// second says what came of a second boot.
func second(b *strings.Builder, r *result.Result) {
	s := r.Second
	if s == nil {
		return
	}
	ended := ""
	if s.Outcome != "" {
		ended = fmt.Sprintf(", %s after %s", safe(string(s.Outcome)), seconds(s.Took))
	}
	field(b, "again", fmt.Sprintf("a second boot, with %s%s: %s", safe(strings.Join(s.Added, " ")), ended, safe(s.Says)))
}

// maxProbeLines bounds the lines shown of what the guest printed during a probe.
const maxProbeLines = 6

// probes says what was done to the hung guest, and with what outcome.
func probes(b *strings.Builder, r *result.Result) {
	for _, p := range r.Probes {
		text := safe(string(p.Name)) + ": "
		if p.Did != "" {
			text += safe(p.Did) + ": "
		}
		text += safe(string(p.Outcome))
		if p.Outcome == result.ProbeWentOn {
			text += " after " + seconds(p.After)
		}
		if p.Boot != "" && p.Outcome == result.ProbeWentOn {
			text += ", then " + safe(string(p.Boot))
		}
		text += ": " + safe(p.Why)
		if p.Said != "" {
			text += "\nuser space: " + safe(p.Said)
		}
		for i, l := range p.Console {
			if i == maxProbeLines {
				text += "\n  … more in " + rundir.Probe
				break
			}
			text += "\n  | " + safe(l)
		}
		field(b, "probe", text)
	}
	for _, p := range r.Probes {
		if p.Shows != "" {
			field(b, "shown", "by experiment ("+safe(string(p.Name))+"): "+safe(p.Shows))
		}
	}
}

// memory says what was read of the guest's memory. That jiffies stood still says
// nothing: an idle kernel may stop its tick.
func memory(m *result.Memory) string {
	tasks := "1 task"
	if m.Tasks > 1 {
		tasks = fmt.Sprintf("%d tasks", m.Tasks)
	}
	s := fmt.Sprintf("%s, read in %.2f s", tasks, m.Took.Seconds())
	if m.Tasks == 0 {
		s = "not read"
	}
	if m.Types != "" && m.Types != "btf" {
		s += "; types: " + safe(m.Types)
	}
	if m.Ticks > 0 {
		s += fmt.Sprintf("; jiffies advanced by %d", m.Ticks)
	}
	if len(m.Problems) > 0 {
		s += "; " + console.SanitizeMax(m.Problems[0], 120)
	}
	if n := len(m.Problems) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

func programCounters(st result.Stall) string {
	var names []string
	seen := map[string]bool{}
	for _, s := range st.Registers {
		name := safe(s.Symbol)
		if name == "" && s.User {
			name = fmt.Sprintf("user mode %#x", s.PC)
		} else if name == "" {
			name = fmt.Sprintf("%#x", s.PC)
		}
		name = fmt.Sprintf("CPU %d in %s", s.CPU, name)
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if len(names) > 4 {
		names = append(names[:4], "…")
	}
	state := "busy"
	if st.Idle {
		state = "idle"
	}
	if len(names) == 0 {
		return ""
	}
	return state + "; " + strings.Join(names, ", ")
}

func kept(b *strings.Builder, r *result.Result) {
	k := r.Kept
	if k == nil {
		return
	}
	word := func(s string) string { return console.Sanitize(machine.Quote(s)) }
	field(b, "kept", fmt.Sprintf(`the guest is paused (QEMU pid %d); continue by hand:
unwedge inspect %s         its tasks, stacks and log, from memory
unwedge attach %s          its console
unwedge stop %s            end it
gdb -ex %s
nc -U %s                   QMP: {"execute":"qmp_capabilities"}, then {"execute":"cont"}`, k.PID, word(r.Dir), word(r.Dir), word(r.Dir), word("target remote "+k.GDB), word(k.QMP)))
}

// watched says what became of a guest that somebody else started.
func watched(b *strings.Builder, r *result.Result) {
	w := r.Watched
	if w == nil {
		return
	}
	who := fmt.Sprintf("QEMU (pid %d)", w.PID)
	if w.Domain != "" {
		who = fmt.Sprintf("domain %s, QEMU (pid %d)", safe(w.Domain), w.PID)
	}
	left := "was left as it was: " + safe(w.After)
	switch {
	case w.Before != w.After:
		left = fmt.Sprintf("was %s, and is %s", safe(w.Before), safe(w.After))
	case w.Stopped > 0:
		left = fmt.Sprintf("was stopped for %.2f s in all, and is %s again", w.Stopped.Seconds(), safe(w.After))
	}
	field(b, "watched", who+", "+left)
	if w.Console != "" {
		field(b, "console", safe(w.Console))
	} else {
		field(b, "console", "none: "+safe(w.NoConsole)+": the kernel's log is from the guest's memory")
	}
	if w.Unsure {
		field(b, "note", "virsh is not installed: the guest would have stayed stopped, had unwedge been killed meanwhile")
	}
}

// field writes a name and its text, further lines indented.
func field(b *strings.Builder, name, text string) {
	lines := strings.Split(text, "\n")
	fmt.Fprintf(b, "  %-9s %s\n", name+":", lines[0])
	for _, l := range lines[1:] {
		fmt.Fprintf(b, "  %-9s %s\n", "", l)
	}
}

func safe(s string) string { return console.SanitizeMax(s, 1000) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Safe makes a guest's text safe to show: one line of at most max characters, valid
// UTF-8, without control or invisible characters.
func Safe(text string, max int) string { return console.SanitizeMax(text, max) }
