package oracle

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// Symbols are the addresses of a kernel's names, as linked: those of the debug
// package's vmlinux, so that a name which this project read is held against a table
// which it did not read. A name may have several.
type Symbols map[string][]uint64

// ReadSymbols reads the symbol table of a vmlinux.
func ReadSymbols(vmlinux string) (Symbols, error) {
	f, err := elf.Open(vmlinux)
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols of %s: %w", vmlinux, err)
	}
	s := Symbols{}
	for _, sym := range all {
		s[sym.Name] = append(s[sym.Name], sym.Value)
	}
	return s, nil
}

// Share is how many of how many are equal.
type Share struct{ Equal, All int }

func (s *Share) add(equal bool) {
	s.All++
	if equal {
		s.Equal++
	}
}

// Percent is 100 of nothing.
func (s Share) Percent() float64 {
	if s.All == 0 {
		return 100
	}
	return 100 * float64(s.Equal) / float64(s.All)
}

func (s Share) String() string { return fmt.Sprintf("%d of %d (%.2f %%)", s.Equal, s.All, s.Percent()) }

// Comparison is what both readers said of one dump.
type Comparison struct {
	// Tasks are those that either of them has; equal ones have the same PID,
	// thread group, parent, name, state, and place on or off a CPU.
	Tasks Share
	// Frames are those of sleeping tasks, the longer stack counts. Equal ones are
	// at the same address: the function that guestmem names, by the table of the
	// debug package, and the offset make drgn's program counter. Named are those
	// that also have drgn's name and offset: a function may have several names.
	Frames, Named Share
	// Running are the frames of tasks that a CPU runs.
	Running Share
	// Below are the frames below a function whose code was replaced: drgn unwinds
	// there by debug information of code that is no longer in the kernel.
	Below Share
	// User are the program counters in user space of tasks that sleep in the
	// kernel.
	User Share
	// Modules is how many of Frames are in modules.
	Modules int
	// Guesses are guestmem's frames that it marks as such; they are not compared.
	Guesses int
	// Differences say what is not equal.
	Differences []string

	replaced string
}

func (c *Comparison) String() string {
	return fmt.Sprintf("tasks %v; frames of sleeping tasks %v, %d with the same name, %d in modules; below replaced code %v; of running tasks %v; user-space PCs %v; %d guesses",
		c.Tasks, c.Frames, c.Named.Equal, c.Modules, c.Below, c.Running, c.User, c.Guesses)
}

// Compare holds a view against drgn's answer. replaced is the function whose code is
// not that of the debug package, "" for none.
func Compare(v *guestmem.View, a *Answer, s Symbols, replaced string) *Comparison {
	c := &Comparison{replaced: replaced}
	type key struct{ pid, cpu int } // all idle tasks are PID 0
	ours := map[key]*model.Task{}
	for i := range v.Tasks {
		t := &v.Tasks[i]
		k := key{t.PID, -1}
		if t.PID == 0 {
			k.cpu = t.CPU
		}
		ours[k] = t
	}
	for _, theirs := range a.Tasks {
		k := key{theirs.PID, theirs.CPU}
		t := ours[k]
		if t == nil {
			c.Tasks.add(false)
			c.differ("PID %d %s: drgn alone has it", theirs.PID, theirs.Comm)
			continue
		}
		delete(ours, k)
		c.task(t, theirs, v.Offset, s)
	}
	for _, t := range ours {
		c.Tasks.add(false)
		c.differ("PID %d %s: guestmem alone has it", t.PID, t.Comm)
	}
	return c
}

func (c *Comparison) differ(format string, args ...any) {
	c.Differences = append(c.Differences, fmt.Sprintf(format, args...))
}

func (c *Comparison) task(t *model.Task, theirs Task, kaslr uint64, s Symbols) {
	us := fmt.Sprintf("%d %d %d %q %s %v", t.PID, t.TGID, t.PPID, t.Comm, t.State, t.Running)
	them := fmt.Sprintf("%d %d %d %q %s %v", theirs.PID, theirs.TGID, theirs.PPID, theirs.Comm, theirs.State, theirs.OnCPU)
	c.Tasks.add(us == them)
	if us != them {
		c.differ("PID %d: guestmem %s, drgn %s", t.PID, us, them)
	}
	kernel, user := theirs.split()
	chain := t.Chain()
	c.Guesses += len(t.Frames) - len(chain)
	frames, named := &c.Frames, &c.Named
	if theirs.OnCPU {
		frames, named = &c.Running, &Share{}
	}
	same := true
	for i := range max(len(chain), len(kernel)) {
		equal := i < len(chain) && i < len(kernel) && s.equal(chain[i], kernel[i], kaslr)
		same = same && equal
		if c.replaced != "" && slices.ContainsFunc(chain[:min(i, len(chain))], func(f model.Frame) bool { return f.Func == c.replaced }) {
			c.Below.add(equal)
			continue
		}
		frames.add(equal)
		if i < len(chain) && chain[i].Module != "" && !theirs.OnCPU {
			c.Modules++
		}
		named.add(equal && chain[i].Func == kernel[i].Func && chain[i].Off == kernel[i].Offset)
	}
	if !same {
		c.differ("PID %d %s:\n  guestmem %s\n  drgn     %s %s", t.PID, t.Comm, lines(chain), theirs.lines(), theirs.Error)
	}
	if user != 0 && !theirs.OnCPU {
		c.User.add(user == t.UserIP)
		if user != t.UserIP {
			c.differ("PID %d %s: in user space at %#x, drgn %#x", t.PID, t.Comm, t.UserIP, user)
		}
	}
}

// equal says whether a named frame is at the address of drgn's. A module's functions
// are in no table of the kernel: there the names have to do.
func (s Symbols) equal(f model.Frame, theirs Frame, kaslr uint64) bool {
	if f.Module == "" {
		for _, addr := range s[f.Func] {
			if addr+f.Off+kaslr == theirs.PC {
				return true
			}
		}
		return false
	}
	return f.Func == theirs.Func && f.Off == theirs.Offset
}

// split returns the kernel's frames and the program counter in user space, 0 where
// there is none.
func (t Task) split() (kernel []Frame, user uint64) {
	for i, f := range t.Frames {
		if f.PC>>63 == 0 {
			return t.Frames[:i], f.PC
		}
	}
	return t.Frames, 0
}

func (t Task) lines() string {
	var out []string
	for _, f := range t.Frames {
		if f.Func == "" {
			out = append(out, fmt.Sprintf("%#x", f.PC))
			continue
		}
		out = append(out, fmt.Sprintf("%s+%#x", f.Func, f.Offset))
	}
	return strings.Join(out, " ")
}

func lines(frames []model.Frame) string {
	var out []string
	for _, f := range frames {
		out = append(out, fmt.Sprintf("%s+%#x", f.Func, f.Off))
	}
	return strings.Join(out, " ")
}
