package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// recallTime bounds one look into the guest's memory, the reading of the
// kernel's symbols and types included.
const recallTime = 15 * time.Second

// recall looks into the memory of the stalled guest, which does not notice. nil
// is a look that was not asked for or showed nothing; the stall says why.
func (s *session) recall(ctx context.Context, said *result.Memory) *guestmem.View {
	return s.recallWith(ctx, said, s.look)
}

// recallStill does so while the guest stands still, so that what its vCPUs run
// is what their registers say.
func (s *session) recallStill(ctx context.Context, said *result.Memory) *guestmem.View {
	return s.recallWith(ctx, said, func(ctx context.Context) (v *guestmem.View, err error) {
		if err := s.g.qmp.Execute(ctx, "stop", nil, nil); err != nil {
			return nil, err
		}
		defer func() {
			err = errors.Join(err, s.g.qmp.Execute(context.WithoutCancel(ctx), "cont", nil, nil))
		}()
		return s.look(ctx)
	})
}

func (s *session) recallWith(ctx context.Context, said *result.Memory, look func(context.Context) (*guestmem.View, error)) *guestmem.View {
	if s.req.Memory == nil {
		return nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, recallTime, fmt.Errorf("not done within %s", recallTime))
	defer cancel()
	v, err := look(ctx)
	said.Took += time.Since(began)
	if err != nil {
		said.Problems = append(said.Problems, err.Error())
		return nil
	}
	said.Problems = append(said.Problems, v.Problems...)
	said.Tasks, said.Offset, said.PhysBase = len(v.Tasks), v.Offset, v.PhysBase
	return v
}

// ram is the guest's memory, with the registers of this moment.
func (s *session) ram(ctx context.Context) (physmem.Reader, string, error) {
	_, registers, err := vcpu.Registers(ctx, s.g.qmp, nil)
	if err != nil {
		return nil, "", err
	}
	sc := s.req.Machine.Scenario
	return physmem.New(s.g.ram, physmem.Ranges(sc.Arch, uint64(sc.MemoryMiB)<<20)), registers, nil
}

func (s *session) look(ctx context.Context) (*guestmem.View, error) {
	ram, registers, err := s.ram(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.req.Memory(ctx, ram, registers)
	if err == nil && v == nil {
		err = errors.New("nothing was found in the guest's memory")
	}
	return v, err
}

// saveMemory keeps what a look showed, in the form of a sysrq-t.
func (s *session) saveMemory(v *guestmem.View) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# the guest's memory, %s after the start: %d tasks, kernel moved by %#x, at physical %#x, jiffies %d\n",
		time.Since(s.start).Round(time.Millisecond), len(v.Tasks), v.Offset, v.PhysBase, v.Jiffies)
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
	return appendFile(filepath.Join(s.req.Dir, rundir.Memory), b.Bytes())
}

// wakeIn returns in how long the last of the timers goes off that will wake one
// of the tasks within limit; 0 for none. jiffies run at hz.
func wakeIn(v *guestmem.View, tasks []result.Link, hz int, limit time.Duration) time.Duration {
	if v == nil || hz <= 0 {
		return 0
	}
	tick := time.Second / time.Duration(hz)
	var last time.Duration
	for _, t := range v.Timers {
		if !slices.ContainsFunc(tasks, func(l result.Link) bool { return l.PID == t.PID }) {
			continue
		}
		due := int64(t.Jiffies - v.Jiffies)
		if t.Nanoseconds > 0 {
			due = (int64(t.Nanoseconds) - int64(sinceBoot(v.Jiffies, hz))) / int64(tick)
		}
		if due <= 0 || due > int64(limit/tick) {
			continue
		}
		last = max(last, time.Duration(due)*tick)
	}
	return last
}

// sinceBoot is the time that jiffies tell. They start five minutes before they
// wrap in 32 bits (include/linux/jiffies.h, INITIAL_JIFFIES).
func sinceBoot(jiffies uint64, hz int) time.Duration {
	return time.Duration(jiffies-uint64(uint32(-300*hz))) * (time.Second / time.Duration(hz))
}
