package oracle

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// ViewComparison is what two readings of the same memory say, of which the first knows the
// kernel's types.
type ViewComparison struct {
	// Tasks are those that either has. Equal ones have the same PID, thread group,
	// parent, name, state, place on or off a CPU, and are kernel threads or not.
	Tasks Share
	// Frames are those of all tasks, the longer stack counts.
	Frames Share
	// Owners are the locks' of the second; one that the first does not have is wrong.
	Owners Share
	// Log says that both read the same log.
	Log bool
	// Differences say what is not equal.
	Differences []string
}

func (c *ViewComparison) String() string {
	log := "the same log"
	if !c.Log {
		log = "another log"
	}
	return fmt.Sprintf("tasks %v; frames %v; owners %v; %s", c.Tasks, c.Frames, c.Owners, log)
}

// CompareViews holds a reading of memory against one that knows the types.
func CompareViews(typed, other *guestmem.View) *ViewComparison {
	c := &ViewComparison{Log: bytes.Equal(typed.Log, other.Log)}
	differ := func(format string, args ...any) { c.Differences = append(c.Differences, fmt.Sprintf(format, args...)) }
	seen := map[string]*model.Task{}
	for i := range other.Tasks {
		t := &other.Tasks[i]
		seen[taskKey(t)] = t
	}
	for i := range typed.Tasks {
		t := &typed.Tasks[i]
		o := seen[taskKey(t)]
		delete(seen, taskKey(t))
		if o == nil {
			c.Tasks.add(false)
			c.Frames.All += len(t.Frames)
			differ("%s: only with types", taskLine(t))
			continue
		}
		c.Tasks.add(taskLine(t) == taskLine(o))
		if taskLine(t) != taskLine(o) {
			differ("with types %s, without %s", taskLine(t), taskLine(o))
		}
		ours, theirs := frameLines(t.Frames), frameLines(o.Frames)
		for i := range max(len(ours), len(theirs)) {
			c.Frames.add(i < len(ours) && i < len(theirs) && ours[i] == theirs[i])
		}
		if !slices.Equal(ours, theirs) {
			differ("%s:\n  with types %s\n  without    %s", taskLine(t), strings.Join(ours, " "), strings.Join(theirs, " "))
		}
	}
	for _, t := range seen {
		c.Tasks.add(false)
		differ("%s: only without types", taskLine(t))
	}
	for _, o := range other.Owners {
		ok := slices.Contains(typed.Owners, o)
		if c.Owners.add(ok); !ok {
			differ("owner only without types: %+v", o)
		}
	}
	return c
}

// taskKey tells tasks apart: idle tasks all have the PID 0.
func taskKey(t *model.Task) string {
	if t.PID == 0 {
		return t.Comm
	}
	return fmt.Sprint(t.PID)
}

func taskLine(t *model.Task) string {
	return fmt.Sprintf("%d %d %d %q %s running=%v kthread=%v", t.PID, t.TGID, t.PPID, t.Comm, t.State, t.Running, t.KernelThread)
}
