package summary

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/rundir"
)

// Line is one line of a console, safe to show and without colours.
type Line struct {
	// Number is its number in the log, from 1.
	Number int
	// Offset is where it begins in the log, in bytes.
	Offset int64
	// Text is what was printed, at most 1000 characters of it.
	Text string
}

// Log is what a report shows of a console: its beginning and its end.
type Log struct {
	// Lines are in order.
	Lines []Line
	// Cut is the index of the first line after those that were left out, LeftOut how
	// many these are; 0 where all are there.
	Cut, LeftOut int
}

// maxLog bounds what is read of a console, in bytes.
const maxLog = 64 << 20

// Console reads the console of a boot: at most head lines from its beginning and tail
// from its end. A boot without artifacts has an empty Log.
func (c Cell) Console(head, tail int) (Log, error) {
	if c.Dir == "" || c.Result == nil {
		return Log{}, nil
	}
	f, err := os.Open(filepath.Join(c.Dir, rundir.Console))
	if os.IsNotExist(err) {
		return Log{}, nil
	}
	if err != nil {
		return Log{}, fmt.Errorf("read console: %w", err)
	}
	defer f.Close() // only read
	l, err := readLog(io.LimitReader(f, maxLog), head, tail)
	if err != nil {
		return Log{}, fmt.Errorf("read console of %s: %w", c.Dir, err)
	}
	return l, nil
}

// readLog keeps the last lines in a ring, and makes safe only what is kept.
func readLog(r io.Reader, head, tail int) (Log, error) {
	type raw struct {
		n    int
		from int64
		text []byte
	}
	in := bufio.NewReaderSize(r, 64<<10)
	var first, last []raw
	var at int64
	n, next := 0, 0
	for {
		text, size, err := line(in)
		if size > 0 {
			n++
			one := raw{n, at, text}
			at += size
			switch {
			case len(first) < head:
				first = append(first, one)
			case len(last) < tail:
				last = append(last, one)
			case tail > 0:
				last[next] = one
				next = (next + 1) % tail
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Log{}, err
		}
	}
	var l Log
	for _, x := range append(append(first, last[next:]...), last[:next]...) {
		l.Lines = append(l.Lines, Line{x.n, x.from, console.SanitizeMax(string(console.Strip(x.text)), maxText)})
	}
	if l.LeftOut = n - len(l.Lines); l.LeftOut > 0 {
		l.Cut = len(first)
	}
	return l, nil
}

// maxLineBytes bounds what is kept of a line.
const maxLineBytes = 4 << 10

// line reads one line of any length; size counts its newline.
func line(in *bufio.Reader) (text []byte, size int64, err error) {
	for {
		part, err := in.ReadSlice('\n')
		size += int64(len(part))
		if room := maxLineBytes - len(text); room > 0 {
			text = append(text, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
			text = text[:len(text)-1]
		}
		return text, size, err
	}
}

// At is the number of the line that holds the offset; 0 where the log does not show it.
func (l Log) At(offset int64) int {
	i := sort.Search(len(l.Lines), func(i int) bool { return l.Lines[i].Offset > offset }) - 1
	if i < 0 || l.LeftOut > 0 && i == l.Cut-1 && offset > l.Lines[i].Offset+maxLineBytes {
		return 0
	}
	return l.Lines[i].Number
}
