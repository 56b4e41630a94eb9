package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/faultmod"
	"github.com/unwedge/unwedge/scenarios"
)

// moduleFault is a way in which a driver goes wrong, as images/faultmod does:
// PID 1 of the tiny initramfs inserts it.
type moduleFault struct {
	name   string
	kinds  []result.Kind
	causes []result.Cause
	// function must be named: where the one who is to blame is, or where the
	// wait for what never comes is.
	function string
	task     Task
}

var (
	lockedUp = []result.Kind{result.KindLockup, result.KindHang}
	spinning = []result.Cause{result.CauseSpin, result.CauseSoftLockup, result.CauseHardLockup, result.CauseRCUStall}
	sleeping = []result.Cause{result.CauseModule, result.CauseKernelWait, result.CauseHungTask}
	mutexes  = []result.Cause{result.CauseDeadlock, result.CauseMutex}
)

var moduleFaults = []moduleFault{
	{name: "abba", kinds: isHang, causes: mutexes, function: "unwedge_abba_first"},
	{name: "mutex-leak", kinds: isHang, causes: mutexes, function: "unwedge_mutex_leak_want", task: pid1},
	{name: "dstate", kinds: isHang, causes: sleeping, function: "unwedge_dstate_sleep", task: pid1},
	{name: "initcall", kinds: isHang, causes: sleeping, function: "unwedge_initcall_wait", task: pid1},
	{name: "workqueue", kinds: isHang, causes: sleeping, function: "unwedge_workqueue_endless"},
	{name: "softlockup", kinds: lockedUp, causes: spinning, function: "unwedge_softlockup_spin", task: pid1},
	{name: "hardlockup", kinds: lockedUp, causes: spinning, function: "unwedge_hardlockup_spin", task: pid1},
	{name: "rcustall", kinds: lockedUp, causes: spinning, function: "unwedge_rcustall_spin", task: Task{Comm: "unwedge_rcu"}},
}

// moduleSeed is a fault of a module. One that cannot be built, for want of a compiler or
// of the kernel's headers, is a boot that failed, with the reason.
func (b *bench) moduleSeed(f moduleFault, types Types) seed {
	truth := Truth{
		ID: string(b.arch) + "/module/" + f.name, Arch: string(b.arch), Fault: "module: " + f.name, Phase: userSpace,
		Function: f.function, Kinds: f.kinds, Causes: f.causes, Task: f.task,
	}
	return seed{truth: truth.of(types), request: func(ctx context.Context, file string) (harness.Request, error) {
		return b.withModule(ctx, f.name, b.kernel(types), filepath.Join(filepath.Dir(file), initrdName))
	}}
}

// withModule plans a boot whose initramfs, written to path, has the module.
func (b *bench) withModule(ctx context.Context, fault string, k *candidate.Candidate, path string) (harness.Request, error) {
	ko, err := faultmod.Build(ctx, faultmod.For(b.stock, b.plan.Mirror, b.plan.Store))
	if err != nil {
		return harness.Request{}, err
	}
	module, err := os.ReadFile(ko)
	if err != nil {
		return harness.Request{}, fmt.Errorf("read fault module: %w", err)
	}
	sc, err := b.cell("tiny", scenarios.VirtioRNG, "unwedge.fault=module:"+fault)
	if err != nil {
		return harness.Request{}, err
	}
	req, err := b.plan.Request(ctx, sc, k)
	if err != nil {
		return req, err
	}
	name := strings.TrimPrefix(faultmod.GuestPath, "/")
	return req, changeInitrd(&req, path, with(file{name: name, text: string(module)}))
}
