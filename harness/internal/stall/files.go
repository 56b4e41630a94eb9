package stall

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/rundir"
)

// Files keeps what captures show, in a run's directory.
type Files struct {
	Dir   string
	Start time.Time // of the guest
}

func (f Files) since() time.Duration { return time.Since(f.Start).Round(time.Millisecond) }

func (f Files) registers(text []byte) error { return Append(f.Dir, rundir.Registers, text) }

// dump keeps what one sysrq key printed as a file of its own. A later dump of the
// same key replaces an earlier one: the Result says which stall it belongs to.
func (f Files) dump(key byte, text []byte) error {
	if err := os.WriteFile(filepath.Join(f.Dir, rundir.Dump(key)), text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", rundir.Dump(key), err)
	}
	return nil
}

// memory keeps what memory showed, in the form of a sysrq-t.
func (f Files) memory(v *guestmem.View) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# the guest's memory, %s after the start: %d tasks, kernel moved by %#x, at physical %#x, jiffies %d\n",
		f.since(), len(v.Tasks), v.Offset, v.PhysBase, v.Jiffies)
	for _, p := range v.Problems {
		fmt.Fprintf(&b, "# %s\n", console.Sanitize(p))
	}
	for i := range v.Tasks {
		for _, l := range v.Tasks[i].Lines() {
			b.WriteString(l + "\n")
		}
	}
	if len(v.Waits) > 0 {
		b.WriteString("# what tasks wait for\n")
	}
	for i := range v.Waits {
		w := &v.Waits[i]
		fmt.Fprintf(&b, "# %s (PID %d): %s\n", console.Sanitize(w.Comm), w.PID, console.Sanitize(w.String()))
	}
	if len(v.Log) > 0 {
		b.WriteString("# the kernel's log\n")
	}
	for line := range bytes.Lines(v.Log) {
		b.WriteString(console.Sanitize(string(bytes.TrimRight(line, "\n"))) + "\n")
	}
	return Append(f.Dir, rundir.Memory, b.Bytes())
}

// userStacks keeps the user-space stacks behind that.
func (f Files) userStacks(stacks []guestmem.UserStack) error {
	if len(stacks) == 0 {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("# user-space stacks, innermost function first; ? is a guess\n")
	for i := range stacks {
		st := &stacks[i]
		fmt.Fprintf(&b, "%s\n", console.Sanitize(st.Line()))
		for _, l := range st.Lines() {
			fmt.Fprintf(&b, "    %s\n", console.Sanitize(l))
		}
		for _, p := range st.Problems {
			fmt.Fprintf(&b, "    # %s\n", console.Sanitize(p))
		}
	}
	return Append(f.Dir, rundir.Memory, b.Bytes())
}

// Append adds to a file of a run's directory.
func Append(dir, name string, b []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
