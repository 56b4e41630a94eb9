package main

import (
	"github.com/unwedge/unwedge/harness/result"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// userFault is a way in which user space goes wrong; the guest agent acts it,
// or the images are changed.
type userFault struct {
	name     string
	scenario string   // where it is seeded; "" means tiny
	words    []string // for the kernel command line
	change   func(*scenarios.Scenario)
	initrd   func([]byte) ([]byte, error) // changes the initramfs
	phase    string                       // "" means /init and user space
	kinds    []result.Kind
	causes   []result.Cause
	syscall  string
	task     Task
}

var (
	isHang   = []result.Kind{result.KindHang}
	stopped  = []result.Kind{result.KindHang, result.KindHalted}
	waits    = []result.Cause{result.CauseUserService}
	locked   = []result.Cause{result.CauseUserLock}
	shutdown = []result.Kind{result.KindShutdown}
	panics   = []result.Kind{result.KindPanic}
	noInit   = []result.Cause{result.CauseNoInit, result.CauseInitramfs, result.CauseRootMount}

	pid1   = Task{Comm: "init", PID: 1}
	aChild = Task{Comm: "init", NotPID1: true}
)

// userFaults are those of the tiny initramfs, and then those of a distribution.
var userFaults = []userFault{
	{name: "flock", words: []string{"unwedge.fault=flock"}, kinds: isHang, causes: locked, syscall: "flock", task: pid1},
	{name: "child:flock", words: []string{"unwedge.fault=child:flock"}, kinds: isHang, causes: locked, syscall: "flock", task: aChild},
	{name: "futex", words: []string{"unwedge.fault=futex"}, kinds: isHang, causes: []result.Cause{result.CauseUserLock, result.CauseUserService}, syscall: "futex", task: pid1},
	{name: "pipe", words: []string{"unwedge.fault=pipe"}, kinds: isHang, causes: waits, syscall: "read", task: pid1},
	{name: "child:pipe", words: []string{"unwedge.fault=child:pipe"}, kinds: isHang, causes: waits, syscall: "read", task: aChild},
	{name: "wait", words: []string{"unwedge.fault=wait"}, kinds: isHang, causes: waits, task: aChild},
	{name: "sleep", words: []string{"unwedge.fault=sleep"}, kinds: isHang, causes: waits, task: pid1},
	{name: "spin", words: []string{"unwedge.fault=spin"}, kinds: []result.Kind{result.KindHang, result.KindLockup}, causes: []result.Cause{result.CauseUserService, result.CauseSpin}, task: pid1},
	{name: "fork bomb", words: []string{"unwedge.fault=forkbomb"}, kinds: []result.Kind{result.KindHang, result.KindPanic},
		causes: []result.Cause{result.CauseForkBomb, result.CauseOOM}},
	{name: "exit", words: []string{"unwedge.fault=exit"}, kinds: panics, causes: []result.Cause{result.CauseInitDied}},
	{name: "segv", words: []string{"unwedge.fault=segv"}, kinds: panics, causes: []result.Cause{result.CauseInitDied}},
	{name: "oom", words: []string{"unwedge.fault=oom"}, kinds: panics, causes: []result.Cause{result.CauseOOM},
		change: func(sc *scenarios.Scenario) { sc.MemoryMiB = 192 }},
	{name: "reboot", words: []string{"unwedge.fault=reboot"}, kinds: []result.Kind{result.KindRebootLoop, result.KindShutdown}, causes: []result.Cause{result.CauseRebootLoop}},
	{name: "poweroff", words: []string{"unwedge.fault=poweroff"}, kinds: shutdown, causes: []result.Cause{result.CauseShutdown}},
	{name: "halt", words: []string{"unwedge.fault=halt"}, kinds: shutdown, causes: []result.Cause{result.CauseShutdown}},
	{name: "no init", words: []string{"rdinit=/nonexistent"}, kinds: panics, causes: noInit},
	// The kernel then tries others, and runs the shell of the initramfs, which
	// waits for somebody to type.
	{name: "init not executable", words: []string{"rdinit=/etc/unwedge/modules"}, kinds: append(stopped, panics...), causes: noInit},
	{name: "init is no program", initrd: with(file{name: "init", text: "\x00\x01 no ELF, no script\n", exec: true}), kinds: append(stopped, panics...), causes: noInit},
	{name: "truncated initramfs", initrd: truncated, kinds: panics, causes: append([]result.Cause{result.CauseInitDied}, noInit...)},
	{name: "no initramfs, no root", change: func(sc *scenarios.Scenario) { sc.Initramfs = scenarios.NoInitrd },
		kinds: panics, causes: []result.Cause{result.CauseRootMount, result.CauseRootDevice}},

	{name: "no root device", scenario: "no-root-device", phase: inDracut, kinds: stopped, causes: []result.Cause{result.CauseRootDevice}},
	{name: "FIPS checksum", scenario: "fips-wrong-hmac", phase: inDracut, kinds: []result.Kind{result.KindHalted, result.KindShutdown, result.KindPanic},
		causes: []result.Cause{result.CauseFIPS}},
	{name: "initramfs unit:flock", scenario: "distro", phase: inDracut, kinds: isHang, causes: locked, syscall: "flock", task: Task{Comm: "agent"},
		initrd: with(unit(initramfsUnits, "unwedge-seeded.service", "initrd.target",
			"[Unit]", "Before=initrd.target", "[Service]", "Type=oneshot", "TimeoutStartSec=infinity", "ExecStart=/usr/lib/unwedge/agent fault flock")...)},
	{name: "root without init", scenario: "distro", phase: switchRoot, kinds: stopped, causes: []result.Cause{result.CauseNoInit, result.CauseEmergency, result.CauseSystemdFreezes},
		initrd: with(beforeSwitch("/bin/mv /sysroot/usr/lib/systemd/systemd /sysroot/usr/lib/systemd/gone")...)},
	{name: "init of the root is no program", scenario: "distro", phase: switchRoot, kinds: append(stopped, panics...),
		causes: []result.Cause{result.CauseNoInit, result.CauseEmergency, result.CauseSystemdFreezes},
		initrd: with(beforeSwitch("/bin/cp /etc/os-release /sysroot/usr/lib/systemd/systemd")...)},
	{name: "init of the root:flock", scenario: "distro", phase: switchRoot, words: []string{"unwedge.fault=flock"}, kinds: isHang, causes: locked, syscall: "flock",
		task: Task{Comm: "systemd", PID: 1}, initrd: with(beforeSwitch("/bin/cp /usr/lib/unwedge/agent /sysroot/usr/lib/systemd/systemd")...)},
	{name: "unit:flock", scenario: "distro", phase: services, kinds: isHang, causes: locked, syscall: "flock", task: Task{Comm: "agent"},
		initrd: with(neverEnds("/run/unwedge/agent fault flock")...)},
	{name: "unit:sleep", scenario: "distro", phase: services, kinds: isHang, causes: waits, task: Task{Comm: "sleep"},
		initrd: with(neverEnds("/bin/sleep infinity")...)},
}

// beforeSwitch runs a command in the initramfs before systemd goes to the root
// file system.
func beforeSwitch(command string) []file {
	return unit(initramfsUnits, "unwedge-seeded.service", "initrd-switch-root.target",
		"[Unit]", "DefaultDependencies=no", "Before=initrd-switch-root.service", "[Service]", "Type=oneshot", "ExecStart="+command)
}

// neverEnds is a job of the root file system's that multi-user.target waits for,
// without a time limit, as jobs of this type have none (systemd.service(5)).
func neverEnds(command string) []file {
	return unit(rootUnits, "unwedge-seeded.service", "multi-user.target",
		"[Unit]", "Description=a job that never ends", "[Service]", "Type=oneshot", "ExecStart="+command)
}

// in is the scenario that it is seeded in.
func (u userFault) in() string {
	if u.scenario == "" {
		return "tiny"
	}
	return u.scenario
}

func (u userFault) truth(a arch.Arch) Truth {
	t := Truth{
		ID: string(a) + "/user/" + u.name, Arch: string(a), Fault: "user: " + u.name, Phase: u.phase,
		Kinds: u.kinds, Causes: u.causes, Syscall: u.syscall, Task: u.task,
	}
	if t.Phase == "" {
		t.Phase = userSpace
	}
	return t
}

// entropyTruth is the hang of spring 2018: the generator is never seeded.
func entropyTruth(a arch.Arch) Truth {
	return Truth{
		ID: string(a) + "/user/getrandom", Arch: string(a), Fault: "user: getrandom, never seeded", Phase: userSpace,
		Kinds: isHang, Causes: []result.Cause{result.CauseEntropy}, Syscall: "getrandom", Task: pid1,
	}
}
