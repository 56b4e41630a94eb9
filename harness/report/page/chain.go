package page

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// chain is the wait chain as a picture: a box for each task, from PID 1 down to the task
// that blocks the boot, and under it what is waited for. It is narrow, for a phone.
type chain struct {
	Width, Height int
	Boxes         []box
	Arrows        []arrow
}

type box struct {
	X, Y, Width, Height int
	Last                bool // the task that blocks the boot
	Head                string
	HeadY               int
	Lines               []boxLine
}

type boxLine struct {
	Y    int
	Text string
	Code bool
}

type arrow struct {
	X, From, To, HeadY int
	Points             string
	Label              string
	LabelX, LabelY     int
}

const (
	chainWidth  = 420
	boxWidth    = 412
	boxPad      = 14
	lineHeight  = 18
	arrowHeight = 44
	lineRunes   = 53 // of the 12-unit monospace font in a box
	maxLinks    = 24
	maxBoxLines = 6
)

// chainOf draws a diagnosis's chain; nil where there is none.
func chainOf(d *result.Diagnosis) *chain {
	if len(d.Chain) == 0 {
		return nil
	}
	c := &chain{Width: chainWidth}
	y := 4
	links := d.Chain[:min(len(d.Chain), maxLinks)]
	for i, l := range links {
		b := box{X: (chainWidth - boxWidth) / 2, Y: y, Width: boxWidth, Last: i == len(links)-1}
		b.Head = fmt.Sprintf("%s  PID %d  %s", report.Safe(l.Comm, 32), l.PID, state(l.State))
		b.HeadY = y + boxPad + 10
		at := b.HeadY
		for n, text := range linkLines(l) {
			if n == maxBoxLines {
				break
			}
			at += lineHeight
			b.Lines = append(b.Lines, boxLine{Y: at, Text: text.text, Code: text.code})
		}
		b.Height = at + boxPad - y
		y += b.Height
		c.Boxes = append(c.Boxes, b)
		if i < len(links)-1 {
			c.Arrows = append(c.Arrows, arrowOf(y, l))
			y += arrowHeight
		}
	}
	c.Height = y + 4
	return c
}

// states are the kernel's letters in words (fs/proc/array.c, task_state_array).
var states = map[string]string{
	"R": "running", "S": "sleeps", "D": "sleeps, uninterruptible", "I": "idle", "T": "stopped", "t": "traced", "Z": "zombie", "X": "dead", "P": "parked",
}

func state(letter string) string {
	if word, ok := states[letter]; ok {
		return letter + " (" + word + ")"
	}
	return report.Safe(letter, 8)
}

func arrowOf(y int, l result.Link) arrow {
	x := chainWidth / 2
	tip := y + arrowHeight - 2
	return arrow{
		X: x, From: y, To: tip - 8, Label: report.Safe(l.Waits, 40), LabelX: x + 12, LabelY: y + arrowHeight/2 + 4,
		Points: fmt.Sprintf("%d,%d %d,%d %d,%d", x-6, tip-9, x+6, tip-9, x, tip),
	}
}

type linkText struct {
	text string
	code bool
}

// linkLines are the lines in a box: the system call and the function, then why.
func linkLines(l result.Link) []linkText {
	var out []linkText
	at := ""
	if l.Syscall != "" {
		at = l.Syscall + "()"
	}
	if l.Func != "" {
		at = strings.TrimPrefix(at+" → "+l.Func, " → ")
	}
	for _, t := range wrap(at, lineRunes) {
		out = append(out, linkText{t, true})
	}
	why := l.Why
	if l.Object != "" && !strings.Contains(why, l.Object) {
		why = strings.TrimSpace(why + " (" + l.Object + ")")
	}
	for _, t := range wrap(why, lineRunes) {
		out = append(out, linkText{t, false})
	}
	return out
}

// wrap breaks a text at spaces, and inside what is longer than a line.
func wrap(text string, width int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(report.Safe(text, maxText)) {
		for utf8.RuneCountInString(word) > width {
			if line != "" {
				out, line = append(out, line), ""
			}
			r := []rune(word)
			out, word = append(out, string(r[:width])), string(r[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			out, line = append(out, line), word
		default:
			line += " " + word
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}
