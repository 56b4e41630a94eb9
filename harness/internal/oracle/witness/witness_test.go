// Package witness holds what is read of guests' memory against what the guests report
// about themselves: /proc/PID/stack, /proc/PID/wchan, /proc/PID/stat,
// /proc/kallsyms, and sysrq-t. It needs nothing but the kernels, so it always runs.
package witness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/kerneltypes"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/oracle"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

func TestWitness(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "witness")
}

// version is a kernel of the Debian archive for each architecture.
type version struct {
	name string
	// arg is the kernel argument; %s stands for Debian's name of the architecture.
	arg string
	// file is taken out of the package arg, where what the package depends on is no
	// longer in the archive: the guest has no modules then.
	file string
	// may says that the archive may have dropped it.
	may bool
	// moved boots it a second time, with KASLR.
	moved bool
	// headers says that its headers can be compiled with on this host: the programs
	// of a later release need a later libc.
	headers bool
}

var versions = []version{
	{name: "5.10", arg: "linux-image-cloud-%s@bullseye", may: true},
	{name: "6.1", arg: "linux-image-cloud-%s@bookworm", moved: true, headers: true},
	{name: "6.12", arg: "linux-image-cloud-%s@trixie", may: true},
	{name: "6.18", arg: "linux-image-6.18.15+deb13-cloud-%s@trixie-backports", file: "boot/vmlinuz-6.18.15+deb13-cloud-%s", may: true},
	{name: "7.x", arg: "linux-image-cloud-%s@trixie-backports", moved: true},
}

var _ = Describe("memory agrees with what the guest itself reports", Label("oracle", "tiny"), func() {
	if os.Getenv("UNWEDGE_KERNEL") != "" {
		EachKernel(func(k Kernel) {
			agree(k.Arch, k.Get, false, false)
			agree(k.Arch, k.Get, true, false)
		})
		return
	}
	for _, v := range versions {
		for _, a := range arch.All() {
			Context(fmt.Sprintf("%s, %s", a, v.name), Label(string(a)), func() {
				get := func(ctx context.Context) *candidate.Candidate { return v.get(ctx, a) }
				agree(a, get, false, v.headers)
				if v.moved {
					agree(a, get, true, false)
				}
			})
		}
	}
})

// get fetches the kernel. It skips the spec where the archive has dropped it.
func (v version) get(ctx context.Context, a arch.Arch) *candidate.Candidate {
	GinkgoHelper()
	debian := a.Facts().Debian
	arg, err := "deb:"+fmt.Sprintf(v.arg, debian), error(nil)
	if v.file != "" {
		arg, err = candidate.ArchiveFile(ctx, fmt.Sprintf(v.arg, debian), fmt.Sprintf(v.file, debian), candidate.Options{Arch: a})
	}
	var c *candidate.Candidate
	if err == nil {
		c, err = Find(ctx, arg)
	}
	var gone *candidate.NotFoundError
	if v.may && errors.As(err, &gone) {
		Skip("the archive no longer has it: " + gone.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	return c
}

func agree(a arch.Arch, get func(context.Context) *candidate.Candidate, moved, headers bool) {
	how := "where it was linked"
	if moved {
		how = "moved by KASLR"
	}
	It(how, func(ctx SpecContext) {
		c := get(ctx)
		readers := untyped(ctx, c, headers)
		at, stacks := boot(ctx, c, a, moved, readers)
		view := at.Seen
		Expect(view.Complete).To(BeTrue())
		Expect(view.Offset != 0).To(Equal(moved), "the kernel is moved by %#x", view.Offset)
		table := symbols(ctx, c)

		syms, differ := oracle.CompareSymbols(table.All(), view.Offset, at.Said.Symbols)
		AddReportEntry("symbols", fmt.Sprintf("%s: symbols %v", c.Kernel.Release, syms))
		Expect(differ).To(BeEmpty())
		Expect(syms.All).To(BeNumerically(">", 30_000))

		got := oracle.CompareOwn(at, oracle.Scheduler(table))
		AddReportEntry("tasks", fmt.Sprintf("%s: %v", c.Kernel.Release, got))
		for _, d := range got.Differences {
			AddReportEntry("difference", d)
		}
		for what, s := range map[string]oracle.Share{"tasks": got.Tasks, "frames": got.Frames, "wchan": got.Wchan, "sysrq-t": got.Printed} {
			Expect(s.Percent()).To(BeNumerically(">=", 99), "%s: %v\n%q", what, s, got.Differences)
		}
		Expect(got.Still).To(BeNumerically(">", got.Ran), "%q", got.Differences)
		Expect(got.Still).To(BeNumerically(">", 30), "%q", got.Differences)
		Expect(got.Frames.All).To(BeNumerically(">", 150))
		Expect(got.Printed.All).To(BeNumerically(">", 150))
		if again := at.Again; again.NoEvents == "" {
			AddReportEntry("timers", fmt.Sprintf("%s: %d", c.Kernel.Release, len(again.Events)))
			agreeOnTimers(again)
		} else { // its symbols have no data, and its BTF no per-CPU variables
			Expect(c.Kernel.Release).To(HavePrefix("5."), again.NoEvents)
			Expect(a).To(Equal(arch.AArch64))
		}
		for _, r := range readers {
			Expect(r.view).NotTo(BeNil(), "types %s: nothing was read", r.source)
			got := oracle.CompareViews(at.Again, r.view)
			AddReportEntry("no BTF", fmt.Sprintf("%s, types %s: %v", c.Kernel.Release, r.view.Types, got))
			Expect(r.view.Types).To(Equal(r.source))
			Expect(r.view.Complete).To(BeTrue(), "%q", r.view.Problems)
			Expect(got.Tasks.Percent()).To(BeNumerically(">=", 99), "types %s\n%q", r.source, got.Differences)
			Expect(got.Frames.Percent()).To(BeNumerically(">=", 98), "types %s\n%q", r.source, got.Differences)
			Expect(got.Owners.Equal).To(Equal(got.Owners.All), "types %s\n%q", r.source, got.Differences)
			Expect(got.Log).To(BeTrue(), "types %s: another log", r.source)
			AddReportEntry("no BTF", fmt.Sprintf("%s, types %s: %d user-space stacks", c.Kernel.Release, r.view.Types, len(r.stacks)))
			Expect(lines(r.stacks)).To(Equal(lines(stacks)), "types %s", r.source)
		}
		// On x86 before 5.16 it is 0: get_wchan followed frame pointers that a kernel
		// with ORC has not (bc9bbb81730e, "x86: Fix get_wchan() to support the ORC
		// unwinder").
		if got.Wchan.All == 0 {
			Expect(a).To(Equal(arch.X86_64))
			Expect(c.Kernel.Release).To(HavePrefix("5."))
		}
	}, SpecTimeout(15*time.Minute))
}

// reader reads the memory of a kernel whose image has its BTF wiped.
type reader struct {
	kernel *guestmem.Kernel
	source kimage.Source
	view   *guestmem.View // the last
	stacks []guestmem.UserStack
}

// agreeOnTimers holds the kernel's list of timers against those on the tasks' stacks. A
// vCPU in a timer's interrupt has taken one off the list, and not yet woken its task.
func agreeOnTimers(v *guestmem.View) {
	GinkgoHelper()
	listed := wakers(v)
	var off []model.Timer
	for _, t := range v.Timers {
		if !slices.Contains(listed, t) {
			off = append(off, t)
		}
	}
	busy := 0
	for _, c := range v.CPUs {
		if !c.Halted {
			busy++
		}
	}
	Expect(v.Timers).To(ContainElements(listed), "timers that are on no task's stack")
	Expect(len(off)).To(BeNumerically("<=", busy), "timers that are in no list: %v", off)
	Expect(listed).NotTo(BeEmpty())
}

// wakers are the kernel's timers that wake tasks, as the tasks' stacks show them. A task
// that runs, or is to, has none there.
func wakers(v *guestmem.View) []model.Timer {
	var out []model.Timer
	for _, e := range v.Events {
		if i := slices.IndexFunc(v.Tasks, func(t model.Task) bool { return t.PID == e.PID }); e.PID >= 0 && (i < 0 || !v.Tasks[i].Running && v.Tasks[i].State != "R") {
			out = append(out, model.Timer{PID: e.PID, Jiffies: e.Jiffies, Nanoseconds: uint64(e.Nanoseconds)})
		}
	}
	return out
}

// lines are user-space stacks as they are shown.
func lines(stacks []guestmem.UserStack) (out []string) {
	for i := range stacks {
		out = append(append(out, stacks[i].Line()), stacks[i].Lines()...)
	}
	return out
}

// untyped makes the readers.
func untyped(ctx context.Context, c *candidate.Candidate, headers bool) []*reader {
	GinkgoHelper()
	payload, err := c.Kernel.Payload(ctx)
	Expect(err).NotTo(HaveOccurred())
	wiped, ok := kerneltest.WithoutBTF(payload)
	Expect(ok).To(BeTrue(), "the kernel has no BTF itself")
	sources := map[kimage.Source]func() (*kimage.Types, error){kimage.Inferred: nil}
	if headers {
		store, err := cache.Default()
		Expect(err).NotTo(HaveOccurred())
		sources[kimage.Compiled] = kerneltypes.Finder{Candidate: c, Options: candidate.Options{Cache: store}}.Find
	}
	var out []*reader
	for source, types := range sources {
		table, err := kallsyms.Parse(wiped, c.Kernel.Arch)
		Expect(err).NotTo(HaveOccurred())
		k, err := guestmem.LoadKernel(wiped, c.Kernel.Arch, table, types)
		Expect(err).NotTo(HaveOccurred())
		out = append(out, &reader{kernel: k, source: source})
	}
	return out
}

// boot boots a guest that reports on itself and then hangs. The harness looks at its
// memory before and after it sends sysrq-t, and last at its user-space stacks.
func boot(ctx SpecContext, c *candidate.Candidate, a arch.Arch, moved bool, readers []*reader) (oracle.Moments, []guestmem.UserStack) {
	GinkgoHelper()
	sc := Pick(Cells("tiny", a), scenarios.None, scenarios.Tiny)
	sc.Cmdline = []string{"unwedge.fault=witness"}
	if moved && a == arch.AArch64 {
		sc.Entropy = scenarios.Host // the seed comes by device tree
	}
	var looks []*guestmem.View
	var stacks []guestmem.UserStack
	res := Boot(ctx, c, sc, func(r *harness.Request) {
		if moved {
			r.Machine.Kernel = c.Kernel.Path // on x86 the packed kernel moves itself
		}
		look := r.Image.Look
		r.Image.Look = func(ctx context.Context, ram physmem.Reader, registers string) (*guestmem.View, error) {
			v, err := look(ctx, ram, registers)
			if err != nil {
				return v, err
			}
			looks = append(looks, v)
			for _, r := range readers {
				// While the guest runs its memory changes under the reader.
				if r.view, err = r.kernel.Look(ctx, ram, registers); err != nil {
					GinkgoWriter.Printf("types %s: %v\n", r.source, err)
				}
			}
			return v, nil
		}
		user := r.Image.UserStacks
		r.Image.UserStacks = func(ctx context.Context, ram physmem.Reader, registers string) (all []guestmem.UserStack, problems []string, err error) {
			all, problems, err = user(ctx, ram, registers)
			stacks = all
			for _, r := range readers {
				var bad error
				if r.stacks, _, bad = r.kernel.UserStacks(ctx, ram, guestmem.ParseRegisters(registers), nil, nil); bad != nil {
					GinkgoWriter.Printf("types %s: user-space stacks: %v\n", r.source, bad)
				}
			}
			return all, problems, err
		}
	})
	Expect(res).To(HaveHung())
	Expect(stacks).NotTo(BeEmpty())
	Expect(len(looks)).To(BeNumerically(">=", 2), "its memory was not read twice")
	last := looks[len(looks)-2:] // of the suspicion that was not withdrawn
	console, err := os.ReadFile(filepath.Join(res.Dir, rundir.Console))
	Expect(err).NotTo(HaveOccurred())
	files, err := agentproto.ReadTestimony(console)
	Expect(err).NotTo(HaveOccurred())
	said, err := oracle.NewTestimony(files)
	Expect(err).NotTo(HaveOccurred())
	text, err := os.ReadFile(filepath.Join(res.Dir, rundir.Dump('t')))
	Expect(err).NotTo(HaveOccurred())
	section, ok := dump.Parse(text).Last(dump.SectionState)
	Expect(ok).To(BeTrue(), "the sysrq-t has no tasks")
	return oracle.Moments{Said: said, Seen: last[0], Printed: section.Tasks, Again: last[1]}, stacks
}

func symbols(ctx context.Context, c *candidate.Candidate) *kallsyms.Table {
	GinkgoHelper()
	payload, err := c.Kernel.Payload(ctx)
	Expect(err).NotTo(HaveOccurred())
	table, err := kallsyms.Parse(payload, c.Kernel.Arch)
	Expect(err).NotTo(HaveOccurred())
	return table
}
