package guestmem_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/dump"
	"github.com/unwedge/unwedge/harness/guestmem"
	"github.com/unwedge/unwedge/harness/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// TestRealGuests boots kernels of the Debian archive until init blocks, and
// compares what their memory shows with what sysrq-t of the same guest prints a
// moment later. It takes QEMU, the network, and half a minute for each kernel:
//
//	UNWEDGE_TEST_ARCHIVE='deb:linux-image-cloud-amd64@bookworm deb:linux-image-cloud-arm64@bookworm' \
//	go test -run RealGuests -v ./harness/guestmem
func TestRealGuests(t *testing.T) {
	list := strings.Fields(os.Getenv("UNWEDGE_TEST_ARCHIVE"))
	if len(list) == 0 {
		t.Skip("UNWEDGE_TEST_ARCHIVE lists no kernels")
	}
	p, err := plan.New("test")
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range list {
		t.Run(arg, func(t *testing.T) { compareGuest(t, p, arg) })
	}
}

func compareGuest(t *testing.T, p *plan.Planner, arg string) {
	c, err := p.Candidate(t.Context(), arg, "")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := scenarios.Builtin().Find("tiny")
	if err != nil {
		t.Fatal(err)
	}
	cells := tmpl.Cells()
	i := slices.IndexFunc(cells, func(s scenarios.Scenario) bool { return s.Arch == c.Kernel.Arch })
	sc := cells[i]
	sc.Cmdline = append(sc.Cmdline, "unwedge.fault=flock")
	req, err := p.Request(t.Context(), sc, c)
	if err != nil {
		t.Fatal(err)
	}
	req.Dir, req.Calibration = t.TempDir(), nil
	var seen *guestmem.View
	recall := req.Memory
	req.Memory = func(ctx context.Context, ram physmem.Reader, registers string) (*guestmem.View, error) {
		v, err := recall(ctx, ram, registers)
		if seen == nil && err == nil {
			seen = v
		}
		return v, err
	}
	if _, err := harness.Boot(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(req.Dir, rundir.Dump('t')))
	if err != nil || seen == nil {
		t.Fatalf("no sysrq-t (%v), or no look at the memory (%v)", err, seen)
	}
	section, ok := dump.Parse(b).Last(dump.SectionState)
	if !ok {
		t.Fatal("the sysrq-t has no tasks")
	}
	t.Logf("%s: %s, moved by %#x, problems %q", c.Kernel.Release, seen.Unwinder, seen.Offset, seen.Problems)
	compare(t, seen, section.Tasks)
}

// compare wants the same tasks, and nine of ten the same in each respect: the
// guest ran on between the look and the dump.
func compare(t *testing.T, v *guestmem.View, printed []dump.Task) {
	byPID := map[int]dump.Task{}
	for _, task := range v.Tasks {
		byPID[task.PID] = task
	}
	differ := 0
	for _, want := range printed {
		got, ok := byPID[want.PID]
		switch {
		case !ok:
			t.Errorf("%s is not in memory", want.String())
		case got.Comm != want.Comm || got.PPID != want.PPID:
			t.Errorf("%s, child of %d, is %s, child of %d, in memory", want.String(), want.PPID, got.String(), got.PPID)
		case want.Running || got.Running:
		case got.State != want.State || stackOf(got) != stackOf(want) || call(got) != call(want):
			differ++
			t.Logf("%s\n  memory  %s %s %s\n  printed %s %s %s", want.String(), got.State, call(got), stackOf(got), want.State, call(want), stackOf(want))
		}
	}
	t.Logf("%d tasks in memory, %d printed, %d differ", len(v.Tasks), len(printed), differ)
	if len(printed) < 20 || 10*differ > len(printed) || len(byPID)-1 > len(printed)+2 {
		t.Errorf("%d of %d tasks differ, of %d in memory", differ, len(printed), len(v.Tasks))
	}
}

func stackOf(task dump.Task) string {
	var out []string
	for _, f := range task.Chain() {
		out = append(out, f.Line())
	}
	return strings.Join(out, " ")
}

// call is the name of a task's system call; its number is not printed on arm64.
func call(task dump.Task) string {
	if task.Syscall == nil {
		return "-"
	}
	return task.Syscall.Name
}
