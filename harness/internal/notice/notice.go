// Package notice is a table of what firmware, boot loaders, an initramfs, PID 1
// and the kernel's search for its root file system print when a boot does not go
// on: the wordings, what they mean and what to do. It only reads lines; package
// diagnose decides whether what a line says held the boot up.
package notice

import (
	"bytes"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/phrase"
	"github.com/unwedge/unwedge/harness/result"
)

// Phase is the part of a boot that a notice belongs to.
type Phase int

// The phases.
const (
	BeforeKernel Phase = iota // QEMU, firmware, boot loader
	EarlyUser                 // the root file system, the initramfs, PID 1
)

// Role is what a notice is good for.
type Role int

// The roles.
const (
	// Why gives a reason. Many a boot prints one and goes on, so it counts only
	// where the boot got no further.
	Why Role = iota
	// Consequence is a Why that counts only where no other reason is known.
	Consequence
	// Stop says that nothing goes on by itself: a crash, a halt, a prompt. It is
	// the answer where no Why is known.
	Stop
	// Ask is a Stop that waits for a person's answer. A Go of the same Name
	// says that the answer came.
	Ask
	// Retry says that something is tried again and again: it counts only at the
	// end of the log.
	Retry
	// Go says that the boot goes on: what was said before it no longer counts.
	Go
)

// Notice is one row of the table.
type Notice struct {
	// Name identifies the row; a Go has the name of the row that it ends, or ""
	// for all of its phase.
	Name string
	// Lines are the wordings; see pattern.
	Lines []string
	Role  Role
	// Title is a headline without names that change from boot to boot.
	Title string
	// Means is one sentence; "{}" stands for the subject.
	Means string
	Cause result.Cause
	// Where is "" for the part of user space that the boot had reached.
	Where result.Where
	// Fix is the remedy.
	Fix string
	// After says that the last step before it is worth telling: what was started
	// last may be what failed.
	After bool
	// Phase is set by the table that the row stands in.
	Phase Phase
}

// Says is Means with its subject; where a wording has none, without the words
// about it.
func (n *Notice) Says(what string) string { return fill(n.Means, what) }

// Headline is Title with its subject.
func (n *Notice) Headline(what string) string { return fill(n.Title, what) }

func fill(s, what string) string {
	if what != "" {
		return strings.ReplaceAll(s, subject, what)
	}
	at := strings.Index(s, subject)
	if at < 0 {
		return s
	}
	if i := strings.LastIndex(s[:at], " ("); i >= 0 && !strings.Contains(s[i:at], ")") {
		return s[:i] + s[at+strings.Index(s[at:], ")")+1:]
	}
	return strings.TrimRight(s[:at], " :") + s[at+len(subject):]
}

// table is all rows: of two that fit a line, and of two reasons for one stop, the
// earlier counts.
var table = slices.Concat(
	in(BeforeKernel, host, uefi, bios, grub, uboot, netboot, loaders),
	in(EarlyUser, fileSystems, passphrases, pools, netRoot, systemd, android, rootFS),
)

func in(p Phase, parts ...[]Notice) []Notice {
	rows := slices.Concat(parts...)
	for i := range rows {
		rows[i].Phase = p
	}
	return rows
}

// All are the rows, in order.
func All() []Notice { return table }

// Named gives the row with a name and its place, nil if there is none: not a Go.
func Named(name string) (*Notice, int) {
	for i := range table {
		if table[i].Name == name && table[i].Role != Go {
			return &table[i], i
		}
	}
	return nil, -1
}

// matcher finds the row of a line.
type matcher struct {
	patterns []pattern
	index    *phrase.Index
}

var lines = compile(table)

func compile(rows []Notice) matcher {
	var m matcher
	var anchors []phrase.Anchor
	for i, r := range rows {
		for _, l := range r.Lines {
			p := parse(i, l)
			m.patterns = append(m.patterns, p)
			anchors = append(anchors, p.anchor())
		}
	}
	m.index = phrase.NewIndex(anchors)
	return m
}

// Match finds the row of a line, nil if there is none, and the line's subject.
// While a kernel runs, only rows of EarlyUser fit. The work is linear in the line.
func Match(line []byte, kernelRuns bool) (row *Notice, what []byte) {
	line = bytes.Trim(line, " \t")
	best := len(table)
	lines.index.Each(line, func(i int) {
		p := &lines.patterns[i]
		if p.row >= best || kernelRuns && table[p.row].Phase == BeforeKernel {
			return
		}
		if w, ok := p.match(line); ok {
			best, what = p.row, w
		}
	})
	if best == len(table) {
		return nil, nil
	}
	return &table[best], bytes.Trim(what, " .,:\"'`\t")
}
