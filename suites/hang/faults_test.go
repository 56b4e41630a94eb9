package hang

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// fault is one way in which a user space goes wrong, and what must be said of
// it.
type fault struct {
	name    string
	words   []string // for the kernel command line
	change  func(*scenarios.Scenario)
	core    bool // what is tested with other versions of QEMU too
	outcome scenarios.Outcome
	causes  []result.Cause // any of these is right
	where   result.Where
	check   func(*result.Result)
}

var faults = []fault{
	{
		name: "a child of PID 1 waits for a file lock", words: []string{"unwedge.fault=child:flock"},
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseUserLock}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Diagnosis.Syscall).To(Equal("flock"))
			Expect(r.Diagnosis.Chain).To(HaveLen(2), "PID 1, which waits for its child, and the child")
			Expect(r.Diagnosis.Chain[0].PID).To(Equal(1))
			Expect(r.Diagnosis.Chain[0].Syscall).To(HavePrefix("wait"))
			Expect(r.Diagnosis.Task.PID).NotTo(Equal(1))
		},
	},
	{
		name: "PID 1 reads a pipe that nobody writes", words: []string{"unwedge.fault=pipe"},
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseUserService}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Diagnosis.Function).To(HaveSuffix("pipe_read"))
			Expect(r.Diagnosis.Syscall).To(Equal("read"))
			Expect(r.Diagnosis.Task.PID).To(Equal(1))
		},
	},
	{
		name: "PID 1 waits for a file lock that a child holds", words: []string{"unwedge.fault=flock-held"}, core: true,
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseUserLock}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Diagnosis.Task.PID).To(Equal(1))
			Expect(r.Diagnosis.Chain).To(HaveLen(2), "PID 1, and the child that holds the lock")
			Expect(r.Diagnosis.Chain[0].Object).To(Equal("flock /tmp/held"))
			Expect(r.Diagnosis.Chain[1].Comm).To(Equal("init"))
			Expect(r.Diagnosis.Summary).To(ContainSubstring("holds it"))
			Expect(r.Diagnosis.Compared).NotTo(BeNil(), "memory and sysrq-t both spoke")
			Expect(r.Diagnosis.Compared.Differences).To(BeEmpty())
			Expect(r.Diagnosis.Compared.Agree).To(BeNumerically(">", 20))
		},
	},
	{
		name: "two processes wait for each other's file locks", words: []string{"unwedge.fault=flock-ring"},
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseUserLock}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Diagnosis.Summary).To(ContainSubstring("they wait for each other: init (PID 1) → init"))
		},
	},
	{
		name: "PID 1 waits for a mutex, as glibc makes it, that a thread of its own holds", words: []string{"unwedge.fault=mutex-word"},
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseUserService}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Diagnosis.Task.PID).To(Equal(1))
			Expect(r.Diagnosis.Chain).To(HaveLen(2), "PID 1, and the thread that holds the mutex")
			Expect(r.Diagnosis.Summary).To(ContainSubstring("owns it"))
		},
	},
	{
		name: "PID 1 waits for a child that has stopped", words: []string{"unwedge.fault=wait"},
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseUserService}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Diagnosis.Task.State).To(HavePrefix("T"))
		},
	},
	{
		name: "PID 1 spins in user space", words: []string{"unwedge.fault=spin"}, core: true,
		outcome: scenarios.Hung, causes: []result.Cause{result.CauseSpin, result.CauseUserService}, where: result.WhereInitramfs,
		check: func(r *result.Result) {
			Expect(r.Stalls[len(r.Stalls)-1].Idle).To(BeFalse())
		},
	},
	{
		name: "PID 1 exits", words: []string{"unwedge.fault=exit"}, core: true,
		outcome: scenarios.Panicked, causes: []result.Cause{result.CauseInitDied},
	},
	{
		name: "PID 1 crashes", words: []string{"unwedge.fault=segv"},
		outcome: scenarios.Panicked, causes: []result.Cause{result.CauseInitDied},
	},
	{
		name: "PID 1 takes all memory", words: []string{"unwedge.fault=oom"},
		change:  func(sc *scenarios.Scenario) { sc.MemoryMiB = 192 },
		outcome: scenarios.Panicked, causes: []result.Cause{result.CauseOOM},
	},
	{
		name: "the kernel crashes by sysrq c", words: []string{"unwedge.fault=sysrq:c"},
		outcome: scenarios.Panicked, causes: []result.Cause{result.CausePanic}, where: result.WhereUserspace, // it was asked for
	},
	{
		name: "user space reboots again and again", words: []string{"unwedge.fault=reboot"}, core: true,
		outcome: scenarios.Rebooting, causes: []result.Cause{result.CauseRebootLoop},
	},
	{
		name: "user space powers off", words: []string{"unwedge.fault=poweroff"}, core: true,
		outcome: scenarios.Stopped, causes: []result.Cause{result.CauseShutdown}, where: result.WhereUserspace,
	},
	{
		name: "user space halts", words: []string{"unwedge.fault=halt"},
		outcome: scenarios.Stopped, causes: []result.Cause{result.CauseShutdown}, where: result.WhereUserspace,
	},
	{
		name:    "there is no initramfs and no root",
		change:  func(sc *scenarios.Scenario) { sc.Initramfs = scenarios.NoInitrd },
		outcome: scenarios.Panicked, causes: []result.Cause{result.CauseRootMount, result.CauseRootDevice},
		check: func(r *result.Result) { Expect(r.Diagnosis.Summary + r.Diagnosis.Title).To(ContainSubstring("root")) },
	},
	{
		name: "the initramfs lacks the init that is asked for", words: []string{"rdinit=/nonexistent"},
		outcome: scenarios.Panicked, causes: []result.Cause{result.CauseNoInit, result.CauseInitramfs},
		check: func(r *result.Result) { Expect(r.Diagnosis.Summary).To(ContainSubstring("/nonexistent")) },
	},
}

var _ = Describe("a broken user space", func() {
	EachKernel(func(k Kernel) {
		for _, f := range faults {
			labels := Label("tiny", string(f.outcome))
			if f.core {
				labels = append(labels, "core")
			}
			It("is explained: "+f.name, labels, func(ctx SpecContext) {
				sc := Cell("tiny", k.Arch, f.words...)
				if f.change != nil {
					f.change(&sc)
				}
				boot := Boot(ctx, k.Get(ctx), sc)
				Expect(boot).To(HaveOutcome(f.outcome))
				Expect(boot).To(HaveCause(f.causes[0], f.causes[1:]...))
				Expect(boot).NotTo(BeAsExpected())
				if f.where != "" {
					Expect(boot.Diagnosis.Where).To(Equal(f.where))
				}
				if f.check != nil {
					f.check(boot)
				}
			}, short)
		}
	})
})

var _ = Describe("a broken distribution boot", func() {
	EachKernel(func(k Kernel) {
		for _, name := range []string{"fips-wrong-hmac", "no-root-device"} {
			sc := Cell(name, k.Arch)
			It("is explained: "+sc.Description, CellLabels(sc), func(ctx SpecContext) {
				Expect(Boot(ctx, k.Get(ctx), sc)).To(BeAsExpected())
			}, long)
		}
	})
})
