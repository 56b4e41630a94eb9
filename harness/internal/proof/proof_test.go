package proof

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

const hz = 250

// asleep is a guest in which PID 1 waits for good, change what is otherwise.
func asleep(change ...func(l *Look)) Look {
	v := &guestmem.View{
		Complete: true, Unwinder: "by ORC", Jiffies: 1 << 32, NothingDeferred: true,
		CPUs: []model.CPU{{PID: 0, Comm: "swapper/0", Halted: true}},
		Tasks: []model.Task{
			{PID: 0, Comm: "swapper/0", State: "R", Running: true},
			{PID: 1, Comm: "init", State: "S", Frames: []model.Frame{{Func: "__schedule"}, {Func: "do_wait"}}, Switches: 7},
			{PID: 20, Comm: "kcompactd0", State: "S", KernelThread: true, Switches: 9},
			{PID: 30, Comm: "hwrng", State: "S", KernelThread: true},
			{PID: 40, Comm: "jbd2/vda-8", State: "S", KernelThread: true},
		},
	}
	l := Look{View: v, HZ: hz}
	in := func(s uint64, e model.Event) { e.Jiffies = v.Jiffies + s*hz; v.Events = append(v.Events, e) }
	in(1, model.Event{Calls: "clocksource_watchdog", PID: -1})
	in(2, model.Event{Calls: "process_timeout", PID: 20, Comm: "kcompactd0"})
	in(3, model.Event{Calls: "delayed_work_timer_fn", Work: "vmstat_shepherd", PID: -1})
	in(600, model.Event{Calls: "process_timeout", PID: 1, Comm: "init"})
	for _, f := range change {
		f(&l)
	}
	return l
}

func due(s int, e model.Event) func(l *Look) {
	return func(l *Look) {
		e.Jiffies = l.View.Jiffies + uint64(s*hz)
		l.View.Events = append(l.View.Events, e)
	}
}

func waits(function string) func(l *Look) {
	return func(l *Look) { l.View.Tasks[1].Frames = append(l.View.Tasks[1].Frames, model.Frame{Func: function}) }
}

func TestJudge(t *testing.T) {
	const within = 35 * time.Second
	for name, tt := range map[string]struct {
		look Look
		why  string // "" where nothing more can come
	}{
		"nothing can come":                      {asleep(), ""},
		"a timer of user space":                 {asleep(due(20, model.Event{Calls: "hrtimer_wakeup", PID: 1, Comm: "init"})), "wakes init (PID 1), due in 20s"},
		"one that is overdue":                   {asleep(due(-1, model.Event{Calls: "hrtimer_wakeup", PID: 1, Comm: "init"})), "due in 0s"},
		"a timer behind an idle clock":          {asleep(due(44, model.Event{Calls: "it_real_fn", PID: -1})), "it_real_fn"},
		"a timer far away":                      {asleep(due(60, model.Event{Calls: "it_real_fn", PID: -1})), ""},
		"a delayed work item":                   {asleep(due(9, model.Event{Calls: "delayed_work_timer_fn", Work: "probe_later", PID: -1})), "queues probe_later"},
		"a task that is not known":              {asleep(due(9, model.Event{Calls: "process_timeout", PID: -1})), "process_timeout"},
		"a kernel thread with a purpose":        {asleep(due(5, model.Event{Calls: "process_timeout", PID: 40, Comm: "jbd2/vda-8"})), "jbd2/vda-8"},
		"hwrng, and nobody wants its numbers":   {asleep(due(5, model.Event{Calls: "process_timeout", PID: 30, Comm: "hwrng"})), ""},
		"hwrng, and somebody does":              {asleep(waits(random), due(5, model.Event{Calls: "process_timeout", PID: 30, Comm: "hwrng"})), "wakes hwrng"},
		"random numbers, looked for again":      {asleep(starved), ""},
		"random numbers, made meanwhile":        {asleep(waits(random), due(1, model.Event{Calls: "process_timeout", PID: 1, Comm: "init"})), "wakes init"},
		"probes that are put off, of no device": {asleep(due(9, model.Event{Calls: "delayed_work_timer_fn", Work: "deferred_probe_timeout_work_func", PID: -1})), ""},
		"probes that are put off": {asleep(func(l *Look) { l.View.NothingDeferred = false },
			due(9, model.Event{Calls: "delayed_work_timer_fn", Work: "deferred_probe_timeout_work_func", PID: -1})), "deferred_probe_timeout_work_func"},
		"a name that only begins like a thread's": {asleep(func(l *Look) { l.View.Tasks[2].Comm = "kcompactd-like" }), "wakes kcompactd"},
		"a program with a thread's name":          {asleep(func(l *Look) { l.View.Tasks[2].KernelThread = false }), "wakes kcompactd0"},
		"a device that owes":                      {asleep(func(l *Look) { l.Owed = []string{"virtio-blk has 1 requests to answer"} }), "virtio-blk"},
		"random numbers of a device":              {asleep(waits("virtio_read")), "virtio-rng"},
		"the real-time clock's alarm":             {asleep(func(l *Look) { l.View.Alarm = "hwclock" }), "real-time clock"},
		"a busy vCPU":                             {asleep(func(l *Look) { l.View.CPUs[0].PID = 1 }), "vCPU 0 runs"},
		"a vCPU that does not rest":               {asleep(func(l *Look) { l.View.CPUs[0].Halted = false }), "vCPU 0 runs"},
		"a task that can run":                     {asleep(func(l *Look) { l.View.Tasks[1].State = "R" }), "can run"},
		"some tasks only":                         {asleep(func(l *Look) { l.View.Complete = false }), "not all tasks"},
		"no timers":                               {asleep(func(l *Look) { l.View.NoEvents = "list timers: unknown" }), "list timers"},
		"timers that are not set yet":             {asleep(func(l *Look) { l.View.Events = nil }), "no timer yet"},
		"no HZ":                                   {asleep(func(l *Look) { l.HZ = 0 }), "HZ"},
		"no memory":                               {Look{HZ: hz}, "memory"},
		"QEMU does not tell":                      {asleep(func(l *Look) { l.Err = errors.New("QEMU does not tell") }), "QEMU does not tell"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(tt.look, within)
			if got.Closed != (tt.why == "") || !strings.Contains(got.Why, tt.why) || got.Closed != (len(got.Facts) > 0) {
				t.Errorf("%+v, want %q", got, tt.why)
			}
		})
	}
}

// starved is a guest whose PID 1 waits for random numbers.
func starved(l *Look) {
	waits("schedule_timeout")(l)
	waits(random)(l)
	due(1, model.Event{Calls: "process_timeout", PID: 1, Comm: "init"})(l)
	l.View.Randomness = []byte{1, 2, 3}
}

// One that looks for something again and again proves nothing before it has done so some
// rounds long, in which nothing has come nearer.
func TestPolls(t *testing.T) {
	a := asleep(starved)
	if got := Judge(a, time.Minute); got.Apart < 2*time.Second || Judge(asleep(), time.Minute).Apart > time.Second {
		t.Errorf("%+v", got)
	}
	ran := func(n uint64) func(l *Look) { return func(l *Look) { l.View.Tasks[1].Switches += n } }
	for name, tt := range map[string]struct {
		b   Look
		why string
	}{
		"two rounds":                    {asleep(starved, ran(2)), ""},
		"one round":                     {asleep(starved, ran(1)), "has not looked again"},
		"an interrupt fed it":           {asleep(starved, ran(2), func(l *Look) { l.View.Randomness = []byte{1, 2, 4} }), "may find"},
		"it is not known what feeds it": {asleep(starved, ran(2), func(l *Look) { l.View.Randomness = nil }), "may find"},
		"it has gone on":                {asleep(ran(2)), "ran"},
		"another one ran":               {asleep(starved, ran(2), func(l *Look) { l.View.Tasks[4].Switches++ }), "jbd2/vda-8 (PID 40) ran"},
	} {
		if got := Both(a, tt.b, time.Minute); got.Closed != (tt.why == "") || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: %+v, want %q", name, got, tt.why)
		}
	}
	if got := Both(asleep(), asleep(starved, ran(2)), time.Minute); got.Closed {
		t.Error("it only begins to look")
	}
}

// Two looks at a guest in which something ran meanwhile prove nothing.
func TestBoth(t *testing.T) {
	ran := func(i int) func(l *Look) { return func(l *Look) { l.View.Tasks[i].Switches++ } }
	for name, tt := range map[string]struct {
		b   Look
		why string
	}{
		"it stood still":              {asleep(), ""},
		"housekeeping ran":            {asleep(ran(2)), ""},
		"PID 1 ran":                   {asleep(ran(1)), "init (PID 1) ran"},
		"a task came":                 {asleep(func(l *Look) { l.View.Tasks = append(l.View.Tasks, model.Task{PID: 50, State: "S"}) }), "came or went"},
		"a task took another's place": {asleep(func(l *Look) { l.View.Tasks[4].PID = 41 }), "ran"},
		"it owes something now":       {asleep(func(l *Look) { l.Owed = []string{"virtio-blk"} }), "virtio-blk"},
	} {
		if got := Both(asleep(), tt.b, time.Minute); got.Closed != (tt.why == "") || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: %+v, want %q", name, got, tt.why)
		}
	}
}

// Each entry of a table says where it is from.
func TestTables(t *testing.T) {
	for _, table := range []map[string]keeping{calls, works} {
		for name, k := range table {
			if k.why == "" || name == "" || strings.ContainsAny(name, " +.") {
				t.Errorf("%q: %+v", name, k)
			}
		}
	}
}

// monitor answers as QEMU does.
type monitor struct {
	devices []string
	owes    int
	silent  bool
}

func (m monitor) Execute(_ context.Context, _ string, _, out any) error {
	if m.silent {
		return errors.New("The command x-query-virtio has not been found")
	}
	switch p := out.(type) {
	case *[]device:
		for _, d := range m.devices {
			*p = append(*p, device{Path: "/machine/" + d, Name: d})
		}
	case *status:
		p.VQs = 2
	case *queue:
		p.Inuse = m.owes
	}
	return nil
}

func TestOwed(t *testing.T) {
	for name, tt := range map[string]struct {
		m    monitor
		owed int
		err  string
	}{
		"no device":         {monitor{}, 0, ""},
		"all answered":      {monitor{devices: []string{"virtio-blk", "virtio-rng"}}, 0, ""},
		"a disk that owes":  {monitor{devices: []string{"virtio-blk"}, owes: 3}, 2, ""},
		"a network":         {monitor{devices: []string{"virtio-blk", "virtio-net"}}, 0, "virtio-net"},
		"a QEMU without it": {monitor{silent: true}, 0, "does not tell"},
	} {
		got, err := Owed(t.Context(), tt.m)
		if len(got) != tt.owed || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if slices.Contains(got, "") {
			t.Error(name)
		}
	}
}
