package main

import (
	"github.com/unwedge/unwedge/harness/diagnose"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// userFault is a way in which user space goes wrong; the guest agent acts it.
type userFault struct {
	name    string
	words   []string // for the kernel command line
	change  func(*scenarios.Scenario)
	kinds   []diagnose.Kind
	causes  []diagnose.Cause
	syscall string
}

var (
	isHang   = []diagnose.Kind{diagnose.KindHang}
	waits    = []diagnose.Cause{diagnose.CauseUserService}
	shutdown = []diagnose.Kind{diagnose.KindShutdown}
	panics   = []diagnose.Kind{diagnose.KindPanic}
)

var userFaults = []userFault{
	{name: "flock", words: []string{"unwedge.fault=flock"}, kinds: isHang, causes: []diagnose.Cause{diagnose.CauseUserLock}, syscall: "flock"},
	{name: "child:flock", words: []string{"unwedge.fault=child:flock"}, kinds: isHang, causes: []diagnose.Cause{diagnose.CauseUserLock}, syscall: "flock"},
	{name: "pipe", words: []string{"unwedge.fault=pipe"}, kinds: isHang, causes: waits, syscall: "read"},
	{name: "child:pipe", words: []string{"unwedge.fault=child:pipe"}, kinds: isHang, causes: waits, syscall: "read"},
	{name: "wait", words: []string{"unwedge.fault=wait"}, kinds: isHang, causes: waits},
	{name: "sleep", words: []string{"unwedge.fault=sleep"}, kinds: isHang, causes: waits},
	{name: "spin", words: []string{"unwedge.fault=spin"}, kinds: []diagnose.Kind{diagnose.KindHang, diagnose.KindLockup}, causes: []diagnose.Cause{diagnose.CauseUserService, diagnose.CauseSpin}},
	{name: "exit", words: []string{"unwedge.fault=exit"}, kinds: panics, causes: []diagnose.Cause{diagnose.CauseInitDied}},
	{name: "segv", words: []string{"unwedge.fault=segv"}, kinds: panics, causes: []diagnose.Cause{diagnose.CauseInitDied}},
	{name: "oom", words: []string{"unwedge.fault=oom"}, kinds: panics, causes: []diagnose.Cause{diagnose.CauseOOM},
		change: func(sc *scenarios.Scenario) { sc.MemoryMiB = 192 }},
	{name: "reboot", words: []string{"unwedge.fault=reboot"}, kinds: []diagnose.Kind{diagnose.KindRebootLoop, diagnose.KindShutdown}, causes: []diagnose.Cause{diagnose.CauseRebootLoop}},
	{name: "poweroff", words: []string{"unwedge.fault=poweroff"}, kinds: shutdown, causes: []diagnose.Cause{diagnose.CauseShutdown}},
	{name: "halt", words: []string{"unwedge.fault=halt"}, kinds: shutdown, causes: []diagnose.Cause{diagnose.CauseShutdown}},
	{name: "no init", words: []string{"rdinit=/nonexistent"}, kinds: panics, causes: []diagnose.Cause{diagnose.CauseNoInit, diagnose.CauseInitramfs, diagnose.CauseRootMount}},
	{name: "no initramfs, no root", change: func(sc *scenarios.Scenario) { sc.Initramfs = scenarios.NoInitrd },
		kinds: panics, causes: []diagnose.Cause{diagnose.CauseRootMount, diagnose.CauseRootDevice}},
}

func (u userFault) truth(a arch.Arch) Truth {
	return Truth{
		ID: string(a) + "/user/" + u.name, Arch: string(a), Fault: "user: " + u.name, Phase: userSpace,
		Kinds: u.kinds, Causes: u.causes, Syscall: u.syscall,
	}
}

// entropyTruth is the hang of spring 2018: the generator is never seeded.
func entropyTruth(a arch.Arch) Truth {
	return Truth{
		ID: string(a) + "/user/getrandom", Arch: string(a), Fault: "user: getrandom, never seeded", Phase: userSpace,
		Kinds: isHang, Causes: []diagnose.Cause{diagnose.CauseEntropy}, Syscall: "getrandom",
	}
}
