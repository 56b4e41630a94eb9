package oracle

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

func frame(fn string, off, size uint64) model.Frame {
	return model.Frame{Func: fn, Off: off, Size: size, Reliable: true}
}

func stackOf(fn string) []model.Frame {
	return []model.Frame{frame("__schedule", 0x34d, 0x9e0), frame(fn, 0x10, 0x90), frame("ret_from_fork", 0x22, 0x30)}
}

func inScheduler(f model.Frame) bool { return f.Func == "__schedule" }

// files is what a guest says of an init that waits, a kthread with a long name, a
// busy kworker, and of nothing of the witness, PID 80.
func files() map[string][]byte {
	f := map[string][]byte{"proc/self": []byte("80"), "proc/kallsyms": []byte("ffffffff81000000 T _text\n")}
	add := func(dir, stat, fn string) {
		f["proc/"+dir+"/stat"] = []byte(stat + " 0 0 -1 4194560")
		f["proc/"+dir+"/status"] = switched(5)
		f["proc/"+dir+"/wchan"] = []byte(fn)
		f["proc/"+dir+"/stack"] = []byte("[<0>] " + fn + "+0x10/0x90\n[<0>] ret_from_fork+0x22/0x30\n")
	}
	add("1/task/1", "1 (init) S 0", "do_wait")
	add("1/task/70", "70 (a) b)) S 0", "futex_wait")
	add("11/task/11", "11 (rcu_tasks_kthread) I 2", "rcu_wait")
	add("12/task/12", "12 (kworker/0:1-events) I 2", "worker_thread")
	return f
}

func switched(n int) []byte {
	return fmt.Appendf(nil, "Name:\tx\nvoluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t1\n", n-1)
}

func tasks() []model.Task {
	return []model.Task{
		{PID: 0, Comm: "swapper/0", State: "R", Running: true},
		{PID: 1, TGID: 1, Comm: "init", State: "S", Switches: 5, Frames: stackOf("do_wait")},
		{PID: 11, TGID: 11, PPID: 2, Comm: "rcu_tasks_kthre", State: "I", Switches: 5, Frames: stackOf("rcu_wait")},
		{PID: 12, TGID: 12, PPID: 2, Comm: "kworker/0:1", State: "I", Switches: 5, Frames: stackOf("worker_thread")},
		{PID: 70, TGID: 1, Comm: "a) b)", State: "S", Switches: 5, Frames: stackOf("futex_wait")},
		{PID: 80, TGID: 80, PPID: 1, Comm: "init", State: "S", Switches: 9, Frames: stackOf("flock")},
		{PID: 81, TGID: 80, PPID: 1, Comm: "init", State: "S", Switches: 9},
	}
}

// guestAt is a guest at the moments that are compared, before what it says is read.
type guestAt struct {
	files                map[string][]byte
	seen, printed, again []model.Task
}

// later changes a task from the first look at memory on.
func (g *guestAt) later(i int, change func(*model.Task)) {
	change(&g.seen[i])
	change(&g.printed[i])
	change(&g.again[i])
}

// ended removes a task from the first look at memory on.
func (g *guestAt) ended(i int) {
	g.seen, g.printed, g.again = slices.Delete(g.seen, i, i+1), slices.Delete(g.printed, i, i+1), slices.Delete(g.again, i, i+1)
}

func TestCompareOwn(t *testing.T) {
	ghost := model.Task{PID: 99, TGID: 99, Comm: "ghost", Switches: 1, Frames: stackOf("nap")}
	for _, c := range []struct {
		name   string
		change func(g *guestAt)
		want   OwnComparison
		differ string
	}{
		{
			"equal", func(*guestAt) {},
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4}, "",
		},
		{
			"another function", func(g *guestAt) {
				g.files["proc/1/task/1/wchan"], g.files["proc/1/task/1/stack"] = []byte("do_nap"), []byte("[<0>] do_nap+0x10/0x90\n[<0>] ret_from_fork+0x22/0x30\n")
			},
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{7, 8}, Wchan: Share{3, 4}, Printed: Share{15, 15}, Still: 4}, "do_nap",
		},
		{
			"a frame too many", func(g *guestAt) { g.files["proc/1/task/1/stack"] = []byte("[<0>] do_wait+0x10/0x90\n") },
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{7, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4}, "PID 1 init",
		},
		{
			"sysrq-t has another offset", func(g *guestAt) { g.printed[1].Frames[1].Off = 0x18 },
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{14, 15}, Still: 4}, "do_wait+0x18",
		},
		{
			"it ran before the first look at memory, and sleeps elsewhere", func(g *guestAt) {
				g.later(3, func(t *model.Task) { t.Switches, t.State, t.Frames = 7, "D", stackOf("msleep") })
			},
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{6, 6}, Wchan: Share{3, 3}, Printed: Share{15, 15}, Still: 3, Ran: 1}, "kworker/0:1 ran: switched away from 5 times, then 7",
		},
		{
			"it ran before each moment, and was elsewhere at each", func(g *guestAt) {
				g.seen[3].Switches, g.seen[3].Frames = 6, stackOf("kdamond_fn")
				g.printed[3].Switches, g.printed[3].Frames = 0, stackOf("msleep") // sysrq-t does not print the count
				g.again[3].Switches, g.again[3].Frames = 8, stackOf("worker_thread")
			},
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{6, 6}, Wchan: Share{3, 3}, Printed: Share{12, 12}, Still: 3, Ran: 1}, "kworker/0:1 ran",
		},
		{
			"it runs", func(g *guestAt) { g.seen[3].Running, g.seen[3].State, g.seen[3].Frames = true, "R", nil },
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{6, 6}, Wchan: Share{3, 3}, Printed: Share{12, 12}, Still: 3, Ran: 1}, "kworker/0:1 ran",
		},
		{
			"it did not run, and differs from its own word", func(g *guestAt) {
				g.later(3, func(t *model.Task) { t.Frames = stackOf("msleep") }) // sysrq-t agreeing does not excuse it
			},
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{7, 8}, Wchan: Share{3, 4}, Printed: Share{15, 15}, Still: 4}, "msleep",
		},
		{
			"it was woken, and sleeps on as yet", func(g *guestAt) { g.seen[3].State = "R" },
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 3, Ran: 1}, "PID 12 kworker/0:1 was woken",
		},
		{
			"another state", func(g *guestAt) { g.seen[3].State = "D" },
			OwnComparison{Tasks: Share{3, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4}, "D, the guest 12",
		},
		{
			"another parent", func(g *guestAt) { g.seen[1].PPID = 2 },
			OwnComparison{Tasks: Share{3, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4}, `1 1 2 "init" S, the guest 1 1 0 "init" S`,
		},
		{
			"another thread group, which running does not change", func(g *guestAt) {
				g.later(4, func(t *model.Task) { t.TGID, t.Switches = 70, 6 })
			},
			OwnComparison{Tasks: Share{3, 4}, Frames: Share{6, 6}, Wchan: Share{3, 3}, Printed: Share{15, 15}, Still: 3, Ran: 1}, `70 70 0`,
		},
		{
			"a name cut short", func(g *guestAt) { g.seen[1].Comm = "ini" },
			OwnComparison{Tasks: Share{3, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4}, `"ini"`,
		},
		{
			"missed in memory", func(g *guestAt) { g.seen = slices.Delete(g.seen, 1, 2) },
			OwnComparison{Tasks: Share{3, 4}, Frames: Share{6, 6}, Wchan: Share{3, 3}, Printed: Share{12, 12}, Still: 3}, "PID 1 init: the guest alone",
		},
		{
			"made up in memory", func(g *guestAt) { g.seen, g.again = append(g.seen, ghost), append(g.again, ghost) },
			OwnComparison{Tasks: Share{4, 5}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4}, "PID 99 ghost: guestmem alone",
		},
		{
			"begun since", func(g *guestAt) {
				g.seen, g.printed, g.again = append(g.seen, ghost), append(g.printed, ghost), append(g.again, ghost)
			},
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{18, 18}, Still: 4, Ran: 1}, "PID 99 ghost",
		},
		{
			"begun since, and ended before sysrq-t", func(g *guestAt) { g.seen = append(g.seen, ghost) },
			OwnComparison{Tasks: Share{4, 4}, Frames: Share{8, 8}, Wchan: Share{4, 4}, Printed: Share{15, 15}, Still: 4, Ran: 1}, "PID 99 ghost",
		},
		{
			"ended since", func(g *guestAt) { g.ended(1) },
			OwnComparison{Tasks: Share{3, 3}, Frames: Share{6, 6}, Wchan: Share{3, 3}, Printed: Share{12, 12}, Still: 3, Ran: 1}, "PID 1 init: the guest alone",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := guestAt{files(), tasks(), tasks(), tasks()}
			c.change(&g)
			said, err := NewTestimony(g.files)
			check(t, err)
			got := CompareOwn(Moments{
				Said: said, Seen: &guestmem.View{Tasks: g.seen}, Printed: g.printed, Again: &guestmem.View{Tasks: g.again},
			}, inScheduler)
			all := strings.Join(got.Differences, "\n")
			if (c.differ == "") != (all == "") || !strings.Contains(all, c.differ) {
				t.Errorf("differences %q, want %q", all, c.differ)
			}
			if is, want := got.String(), c.want.String(); is != want {
				t.Errorf("%s\nwant %s", is, want)
			}
		})
	}
}

func TestATestimonyThatIsNoneIsRefused(t *testing.T) {
	for name, change := range map[string]func(map[string][]byte){
		"no self":     func(f map[string][]byte) { delete(f, "proc/self") },
		"no name":     func(f map[string][]byte) { f["proc/1/task/1/stat"] = []byte("1 init S 0") },
		"no parent":   func(f map[string][]byte) { f["proc/1/task/1/stat"] = []byte("1 (init) S") },
		"no PID":      func(f map[string][]byte) { f["proc/1/task/1/stat"] = []byte("(init) S 0") },
		"no status":   func(f map[string][]byte) { delete(f, "proc/1/task/1/status") },
		"no counts":   func(f map[string][]byte) { f["proc/1/task/1/status"] = []byte("Name:\tinit\n") },
		"no number":   func(f map[string][]byte) { f["proc/1/task/1/status"] = []byte("voluntary_ctxt_switches:\tmany\n") },
		"not of proc": func(f map[string][]byte) { f["etc/stat"] = []byte("1 (init) S 0") },
	} {
		f := files()
		change(f)
		if said, err := NewTestimony(f); err == nil || said != nil {
			t.Errorf("%s: %v, %v; want an error", name, said, err)
		}
	}
}

func TestCompareSymbols(t *testing.T) {
	image := []kallsyms.Symbol{
		{Addr: 0x1000, Name: "cpu_number", Type: 'A'}, {Addr: 0xffffffff81000000, Name: "_text", Type: 'T'},
		{Addr: 0xffffffff81000000, Name: "_stext", Type: 'T'}, {Addr: 0xffffffff81000040, Name: "init_once", Type: 't'},
		{Addr: 0xffffffff81000040, Name: "init_once", Type: 't'},
	}
	const same = "0000000000001000 A cpu_number\nffffffff91000000 T _stext\nffffffff91000000 T _text\n" +
		"ffffffff91000040 t init_once\nffffffff91000040 t init_once\nffffffffc0000000 t probe\t[virtio_rng]\n"
	for name, c := range map[string]struct {
		proc string
		want Share
	}{
		"equal":             {same, Share{5, 5}},
		"one twice":         {same + "ffffffff91000040 t init_once\n", Share{5, 6}},
		"one alone":         {strings.Replace(same, "ffffffff91000040 t init_once\n", "", 1), Share{4, 5}},
		"another place":     {strings.Replace(same, "91000000 T _text", "91000008 T _text", 1), Share{4, 6}},
		"another type":      {strings.Replace(same, "T _text", "t _text", 1), Share{4, 6}},
		"all addresses 0":   {strings.ReplaceAll(same, "ffffffff91", "0000000000"), Share{1, 9}},
		"nothing":           {"", Share{0, 5}},
		"not /proc/kallsym": {"nothing of the kind\n", Share{0, 6}},
	} {
		got, differ := CompareSymbols(slices.Values(image), 0x10000000, []byte(c.proc))
		if got != c.want || len(differ) != got.All-got.Equal {
			t.Errorf("%s: %v with %d differences, want %v\n%q", name, got, len(differ), c.want, differ)
		}
	}
}
