package page

import (
	"fmt"
	"regexp"

	"github.com/unwedge/unwedge/harness/report/summary"
)

// console is a log with an anchor for each line.
type console struct {
	Lines   []logLine
	LeftOut int
}

type logLine struct {
	ID     string
	Number int
	Stamp  string // the kernel's, with its brackets
	Text   string
	Hit    bool // a finding or a piece of evidence begins here
	Gap    int  // lines left out before this one
}

// stamped is a line with the kernel's time stamp (printk.time).
var stamped = regexp.MustCompile(`^(?:<\d{1,3}>)?(\[ {0,10}\d{1,10}\.\d{1,9}\](?:\[ *[TC]\d+\])?) ?(.*)$`)

func consoleOf(id string, log summary.Log, hits map[int]bool) *console {
	c := &console{LeftOut: log.LeftOut}
	for i, l := range log.Lines {
		one := logLine{ID: fmt.Sprintf("%sL%d", id, l.Number), Number: l.Number, Text: l.Text, Hit: hits[l.Number]}
		if m := stamped.FindStringSubmatch(l.Text); m != nil {
			one.Stamp, one.Text = m[1], m[2]
		}
		if log.LeftOut > 0 && i == log.Cut {
			one.Gap = log.LeftOut
		}
		c.Lines = append(c.Lines, one)
	}
	return c
}
