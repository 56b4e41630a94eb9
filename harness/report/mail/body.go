package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"

	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// addresses writes a header of addresses, each once, one a line.
func addresses(b *strings.Builder, name string, list []string, seen map[string]bool) {
	var out []string
	for _, text := range list {
		a, err := netmail.ParseAddress(text)
		if err != nil || seen[strings.ToLower(a.Address)] {
			continue
		}
		seen[strings.ToLower(a.Address)] = true
		if a.Name == "" {
			out = append(out, a.Address)
		} else {
			out = append(out, a.String())
		}
	}
	if len(out) > 0 {
		fmt.Fprintf(b, "%s: %s\n", name, strings.Join(out, ",\n\t"))
	}
}

// The longest parts of a mail, in lines.
const (
	maxTrace   = 60
	maxConsole = 30
	width      = 72
)

// body is the text: a sentence, a paragraph, then detail.
func (i *issue) body(b *strings.Builder) {
	b.WriteString("Hi,\n\n")
	paragraph(b, i.sentence())
	paragraph(b, i.what())
	i.facts(b)
	i.trace(b)
	i.console(b)
	if c := i.commit(); c != nil && i.bisected.First != nil {
		b.WriteString("The commit that begins to fail, by bisection:\n\n")
		fmt.Fprintf(b, "  %s\n  Author: %s\n  Date: %s\n\n", plain(i.bisected.First.String()), plain(c.Author), plain(c.Date))
	}
	b.WriteString("It was booted in QEMU by unwedge.\n")
	if in := i.introduced(); in != "" {
		fmt.Fprintf(b, "\n#regzbot introduced: %s\n\n#regzbot title: %s\n", in, i.title())
		if i.LogURL != "" {
			fmt.Fprintf(b, "\n#regzbot link: %s\n", i.LogURL)
		}
	}
}

var verbs = map[scenarios.Outcome]string{scenarios.Hung: "hangs", scenarios.Panicked: "panics", scenarios.Rebooting: "resets again and again", scenarios.Slow: "does not come to its end in time"}

func (i *issue) sentence() string {
	outcome := scenarios.Outcome("")
	arch := ""
	if r := i.bad.Result; r != nil {
		outcome, arch = r.Outcome, " on "+string(r.Scenario.Arch)
	} else {
		outcome = scenarios.Outcome(i.bisected.Failure.Outcome)
	}
	verb := verbs[outcome]
	if verb == "" {
		verb = "fails"
	}
	from := ""
	switch {
	case i.firstBad == "":
	case i.bisected != nil:
		from = "since " + plain(i.firstBad) + ", "
	default:
		from = "with " + plain(i.firstBad) + ", "
	}
	text := fmt.Sprintf("%sthe boot%s %s: %s.", from, arch, verb, strings.TrimPrefix(i.title(), "hang: "))
	return strings.ToUpper(text[:1]) + text[1:]
}

func (i *issue) what() string {
	text := ""
	if r := i.bad.Result; r != nil && r.Diagnosis != nil {
		text = sentenceOf(r.Diagnosis.Summary)
	} else if i.bisected != nil {
		text = sentenceOf(i.bisected.Failure.What)
	}
	if i.seenGood {
		text += " " + plain(i.lastGood) + " boots in the same guest."
	}
	if r := i.bisected; r != nil && r.Rate > 0 && r.Rate < 0.9 {
		text += fmt.Sprintf(" The failure shows in about %.0f %% of boots.", 100*r.Rate)
	}
	return strings.TrimSpace(text)
}

// sentenceOf is a text that begins like a sentence, but for names of code, and ends like
// one.
func sentenceOf(s string) string {
	s = strings.TrimRight(plain(s), ". ")
	if s == "" {
		return ""
	}
	return s + "."
}

// facts are what a maintainer asks first.
func (i *issue) facts(b *strings.Builder) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%-11s %s\n", name+":", plain(value))
		}
	}
	bad, good := "Known bad", "Known good" // nobody has looked in between
	if i.bisected != nil {
		bad, good = "First bad", "Last good"
	}
	row(bad, i.firstBad)
	row(good, i.lastGood)
	if i.Tree.URL != "" {
		row("Tree", i.Tree.ShownURL())
	}
	if r := i.bad.Result; r != nil {
		row("Kernel", kernelOf(i.bad))
		if d := r.Diagnosis; d != nil && d.Cause != result.CauseUnknown {
			row("Cause", fmt.Sprintf("%s (%s), in %s", d.Cause, d.Confidence, d.Where))
		}
		row("Guest", fmt.Sprintf("%s, cpus %d, memory %d MiB, entropy %s, initramfs %s", r.Scenario.Arch, r.Scenario.CPUs, r.Scenario.MemoryMiB, r.Scenario.Entropy, r.Scenario.Initramfs))
		row("Ran on", fmt.Sprintf("QEMU %s, %s", r.Host.QEMUVersion, r.Host.Accel))
		row("Cmdline", r.Host.Cmdline)
	}
	row("Config", i.ConfigURL)
	row("Logs", i.LogURL)
	b.WriteByte('\n')
}

func kernelOf(c summary.Cell) string {
	if vanilla(c.Release) {
		return c.Release + " (vanilla by its name)"
	}
	return c.Release + " (not a kernel.org release by its name)"
}

// trace is the evidence that has lines, without anything after a symbol, so that
// scripts/decode_stacktrace.sh takes it.
func (i *issue) trace(b *strings.Builder) {
	r := i.bad.Result
	if r == nil || r.Diagnosis == nil {
		return
	}
	left := maxTrace
	for _, e := range r.Diagnosis.Evidence {
		if len(e.Lines) == 0 || left <= 0 {
			continue
		}
		fmt.Fprintf(b, "%s:\n\n", plain(e.What))
		for _, l := range e.Lines {
			if left--; left < 0 {
				b.WriteString("  ...\n")
				break
			}
			b.WriteString("  " + plain(l) + "\n")
		}
		b.WriteByte('\n')
	}
}

// console is the end of the log, where the evidence does not show it.
func (i *issue) console(b *strings.Builder) {
	log, err := i.bad.Console(0, maxConsole)
	if err != nil || len(log.Lines) == 0 {
		return
	}
	b.WriteString("The end of the console:\n\n")
	for _, l := range log.Lines {
		b.WriteString("  " + plain(l.Text) + "\n")
	}
	b.WriteByte('\n')
}

// paragraph writes a text in lines that mail readers can show.
func paragraph(b *strings.Builder, text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		b.WriteString(line + "\n\n")
	}
}
