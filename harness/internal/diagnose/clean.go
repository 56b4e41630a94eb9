package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
)

// The longest texts of a Diagnosis, in characters.
const (
	maxTitle = 300
	maxText  = 2000
	maxLine  = 1200
	maxName  = 64
)

// clean makes every text that a guest may have influenced safe to show, to keep and
// to compare: one line, bounded, valid UTF-8, without control sequences.
func clean(d *result.Diagnosis) {
	d.Title = cleanText(d.Title, maxTitle)
	d.Summary = cleanText(d.Summary, maxText)
	d.Remedy = cleanText(d.Remedy, maxText)
	d.Function = cleanText(d.Function, maxTitle)
	d.Syscall = cleanText(d.Syscall, maxName)
	d.Stage = cleanText(d.Stage, maxName)
	if d.Task != nil {
		t := *d.Task
		t.Comm, t.State = cleanText(t.Comm, maxName), cleanText(t.State, maxName)
		d.Task = &t
	}
	for i := range d.Chain {
		l := &d.Chain[i]
		for _, s := range []*string{&l.Comm, &l.State, &l.Waits, &l.Func, &l.Syscall, &l.Why, &l.Object} {
			*s = cleanText(*s, maxTitle)
		}
	}
	if c := d.Compared; c != nil {
		for i := range c.Differences {
			f := &c.Differences[i]
			f.Comm, f.Memory, f.Printed = cleanText(f.Comm, maxName), cleanText(f.Memory, maxTitle), cleanText(f.Printed, maxTitle)
		}
	}
	for i, n := range d.Notes {
		d.Notes[i] = cleanText(n, maxText)
	}
	for i := range d.Evidence {
		e := &d.Evidence[i]
		e.What = cleanText(e.What, maxTitle)
		lines := make([]string, len(e.Lines))
		for j, l := range e.Lines {
			lines[j] = console.SanitizeLine(l, maxLine)
		}
		e.Lines = lines
	}
}

func cleanText(s string, limit int) string {
	return console.SanitizeMax(strings.Join(strings.Fields(s), " "), limit)
}
