package user_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestRealGuests boots kernels of the Debian archive whose random number
// generator is never seeded, with a library whose constructor needs it, and
// wants the library named; its mappings must be those that the guest itself
// prints. It takes QEMU, a compiler, the network, and half a minute for each:
//
//	UNWEDGE_TEST_ARCHIVE='deb:linux-image-cloud-amd64@bookworm deb:linux-image-cloud-arm64@bookworm' \
//	go test -run RealGuests -v ./harness/internal/guestmem/user
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
		t.Run(arg, func(t *testing.T) {
			t.Run("constructor", func(t *testing.T) { constructorBlocks(t, p, arg) })
			t.Run("agent", func(t *testing.T) { agentBlocks(t, p, arg) })
			t.Run("without BTF", func(t *testing.T) {
				wiped := withoutBTF(t, p, arg)
				t.Run("constructor", func(t *testing.T) { constructorBlocks(t, p, wiped, " [stack]", " [heap]") })
				t.Run("agent", func(t *testing.T) { agentBlocks(t, p, wiped) })
			})
		})
	}
}

// withoutBTF is a file with the kernel, its types wiped: they are inferred.
func withoutBTF(t *testing.T, p *plan.Planner, arg string) string {
	t.Helper()
	c, err := p.Candidate(t.Context(), arg, "")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := c.Kernel.Payload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wiped, ok := kerneltest.WithoutBTF(payload)
	if !ok {
		t.Skip("the kernel has no BTF itself")
	}
	file := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(file, wiped, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// boot boots until the guest hangs and returns the user-space stack of PID 1.
func boot(t *testing.T, req harness.Request) (*result.Result, *guestmem.UserStack) {
	t.Helper()
	var seen []guestmem.UserStack
	read := req.Image.UserStacks
	req.Image.UserStacks = func(ctx context.Context, ram physmem.Reader, registers string) ([]guestmem.UserStack, []string, error) {
		stacks, problems, err := read(ctx, ram, registers)
		seen = stacks
		return stacks, problems, err
	}
	res, err := harness.Boot(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(seen, func(s guestmem.UserStack) bool { return s.PID == 1 })
	if i < 0 {
		t.Fatalf("no user-space stack of PID 1 among %d", len(seen))
	}
	t.Logf("%s\n%s", seen[i].Line(), strings.Join(seen[i].Lines(), "\n"))
	return res, &seen[i]
}

// agentBlocks has the guest agent, a static Go program, wait for a lock.
func agentBlocks(t *testing.T, p *plan.Planner, arg string) {
	c, err := p.Candidate(t.Context(), arg, "")
	if err != nil {
		t.Fatal(err)
	}
	req, err := p.Request(t.Context(), tiny(t, c.Kernel.Arch, "unwedge.fault=flock"), c)
	if err != nil {
		t.Fatal(err)
	}
	req.Dir, req.Calibration = t.TempDir(), nil
	_, got := boot(t, req)
	if want := "init(1) → flock ← init"; got.Line() != want {
		t.Errorf("the stack is %q, want %q", got.Line(), want)
	}
	for _, fn := range []string{"main.blockInFlock", "main.main", "runtime.main"} {
		if !slices.ContainsFunc(got.Frames, func(f user.Frame) bool { return f.Symbol == fn && f.Reliable }) {
			t.Errorf("%s is not among the frames", fn)
		}
	}
}

// tiny is the smallest scenario for an arch, without entropy.
func tiny(t *testing.T, a arch.Arch, words ...string) scenarios.Scenario {
	t.Helper()
	tmpl, err := scenarios.Builtin().Find("tiny")
	if err != nil {
		t.Fatal(err)
	}
	cells := tmpl.Cells()
	sc := cells[slices.IndexFunc(cells, func(s scenarios.Scenario) bool { return s.Arch == a && s.Entropy == scenarios.None })]
	sc.Cmdline = append(sc.Cmdline, words...)
	return sc
}

// constructorBlocks has a library's constructor wait for random numbers. nameless are the
// names that mappings do not have where types are inferred.
func constructorBlocks(t *testing.T, p *plan.Planner, arg string, nameless ...string) {
	req := starved(t, p, arg)
	res, got := boot(t, req)
	if want := "fixture(1) → getrandom ← libfixture.so.1 ← constructor ← ld.so"; got.Line() != want {
		t.Errorf("the stack is %q, want %q", got.Line(), want)
	}
	for _, f := range got.Frames {
		if !f.Reliable || f.BuildID == "" {
			t.Errorf("frame %s is a guess, or its object %q has no build ID", f, f.Object)
		}
	}
	const want = "called from libfixture.so.1"
	if d := res.Diagnosis; d == nil || !strings.Contains(d.Summary, want) {
		t.Errorf("the diagnosis %+v does not say %q", d, want)
	}
	printed := printedMaps(t, req.Dir)
	for i := range printed {
		for _, name := range nameless {
			printed[i] = strings.TrimSuffix(printed[i], name)
		}
	}
	var mapped []string
	for _, m := range got.Mappings {
		mapped = append(mapped, strings.TrimSpace(m.String()))
	}
	if diff := cmp.Diff(printed, mapped); diff != "" {
		t.Errorf("the mappings differ (- printed by the guest, + in memory):\n%s", diff)
	}
}

// starved plans a boot of the fixture in the tiny initramfs, of a kernel in
// which a wait for random numbers never ends.
func starved(t *testing.T, p *plan.Planner, arg string) harness.Request {
	t.Helper()
	c, err := p.Candidate(t.Context(), arg, "")
	if err != nil {
		t.Fatal(err)
	}
	a := c.Kernel.Arch
	files := fixture(t, a)
	req, err := p.Request(t.Context(), tiny(t, a, "rdinit=/fixture"), c)
	if err != nil {
		t.Fatal(err)
	}
	req.Dir, req.Calibration = t.TempDir(), nil
	initrd, err := os.ReadFile(req.Machine.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	req.Machine.Initrd = filepath.Join(req.Dir, "initrd")
	if err := os.WriteFile(req.Machine.Initrd, appended(t, initrd, files), 0o644); err != nil {
		t.Fatal(err)
	}
	payload, err := c.Kernel.Payload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table, err := kallsyms.Parse(payload, a)
	if err != nil {
		t.Fatal(err)
	}
	// Older kernels have the first function inside the second.
	for _, change := range [][2]string{{"try_to_generate_entropy", "return"}, {"wait_for_random_bytes", "sleep"}} {
		f, err := mutate.ParseFault(change[1])
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := mutate.Patch(payload, a, table, change[0], f)
		if err != nil {
			continue
		}
		req.Machine.Kernel = filepath.Join(req.Dir, "kernel")
		if err := os.WriteFile(req.Machine.Kernel, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return req
	}
	t.Fatal("neither function can be changed in this kernel")
	return req
}

// mapLine is a line of /proc/PID/maps.
var mapLine = regexp.MustCompile(`(?m)\b([0-9a-f]{6,16}-[0-9a-f]{6,16} [r-][w-][x-][ps] [0-9a-f]{8}) [0-9a-f]+:[0-9a-f]+ \d+ *([^\r\n]*)`)

func printedMaps(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, rundir.Console))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range mapLine.FindAllStringSubmatch(string(b), -1) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", m[1], strings.TrimSpace(m[2]))))
	}
	return out
}
