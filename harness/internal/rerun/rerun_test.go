package rerun_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/rerun"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// booted is the Result of a machine, as harness records it.
func booted(s machine.Spec) *result.Result {
	return &result.Result{Scenario: s.Scenario, Host: result.Host{QEMU: s.QEMU, Accel: s.Accel, Args: s.Args(), Cmdline: s.Cmdline()}}
}

func spec(t *testing.T, scenario string, a arch.Arch) machine.Spec {
	t.Helper()
	tmpl, err := scenarios.Builtin().Find(scenario)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.Arch = []arch.Arch{a}
	return machine.Spec{
		QEMU: "/usr/bin/qemu", Scenario: tmpl.Cells()[0], Accel: result.TCG, Kernel: "/k/bz,Image", Initrd: "/i",
		Sockets: machine.Sockets{Console: "/run/c", QMP: 3, Seat: 4, GDB: 5, Agent: 6, RAM: 7},
	}
}

func TestTheMachineIsTheSameAgain(t *testing.T) {
	for name, change := range map[string]func(*machine.Spec){
		"plain": func(*machine.Spec) {},
		"disks": func(s *machine.Spec) {
			s.Disks = []machine.Disk{{Path: "/a,b", Serial: "unwedge-root"}, {Path: "/c", Format: "qcow2", Boot: true, BPS: 1000}}
			s.KernelArgs = []string{"root=/dev/vda", "rw"}
		},
		"kvm that lacks features": func(s *machine.Spec) { s.Accel, s.CPULacks = result.KVM, []string{"pmu", "x2apic"} },
		"a cpu of the user's":     func(s *machine.Spec) { s.Accel, s.Scenario.CPUModel = result.KVM, "host,pmu=off" },
		"one thread, slot":        func(s *machine.Spec) { s.OneThread, s.Slot, s.Scenario.CPUs = true, true, 2 },
		"firmware": func(s *machine.Spec) {
			s.Scenario.Firmware, s.Firmware = "uefi", arch.FirmwareFiles{Code: "/code", Vars: "/vars"}
		},
		"own arguments": func(s *machine.Spec) {
			s.Scenario.QEMUArgs, s.Scenario.Devices = []string{"-rtc", "base=utc", "-no-reboot"}, []string{"edu,id=x"}
		},
		"a root of the host's": func(s *machine.Spec) { s.Scenario.RootDir = "/tree" },
	} {
		for _, a := range arch.All() {
			t.Run(name+"/"+string(a), func(t *testing.T) {
				want := spec(t, "tiny", a)
				change(&want)
				got, err := rerun.Machine(booted(want))
				if err != nil {
					t.Fatal(err)
				}
				got.Sockets = want.Sockets
				if d := cmp.Diff(want.Args(), got.Args()); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestRename(t *testing.T) {
	s := spec(t, "tiny", arch.All()[0])
	s.Disks = []machine.Disk{{Path: "/d"}}
	var roles []string
	again := s.Rename(func(role, path string) string {
		roles = append(roles, role+"="+path)
		return role
	})
	if want := []string{"kernel=/k/bz,Image", "initrd=/i", "disk0=/d"}; !slices.Equal(roles, want) {
		t.Errorf("%q, not %q", roles, want)
	}
	if s.Disks[0].Path != "/d" || again.Disks[0].Path != "disk0" || again.Kernel != "kernel" {
		t.Errorf("%+v\n%+v", s, again)
	}
}

func TestDifferences(t *testing.T) {
	a := spec(t, "tiny", arch.All()[0])
	b := a
	b.Kernel, b.Initrd, b.Sockets.Console, b.Sockets.RAM, b.Sockets.QMP = "/other", "/else", "/x,,y", 17, 13
	if d := rerun.Differences(a.Args(), b.Args()); d != nil {
		t.Errorf("only places differ: %q", d)
	}
	b.Accel, b.Scenario.MemoryMiB, b.Disks = result.KVM, 99, []machine.Disk{{Path: "/d"}}
	d := strings.Join(rerun.Differences(a.Args(), b.Args()), "\n")
	for _, want := range []string{"-accel kvm, was tcg", "-m 99M, was 512M", "-drive if=none,format=raw,snapshot=on,id=disk0,file=, was (none)"} {
		if !strings.Contains(d, want) {
			t.Errorf("no %q in\n%s", want, d)
		}
	}
}

func TestWhatCannotBeBootedAgain(t *testing.T) {
	for want, r := range map[string]*result.Result{
		"somebody else":   {Watched: &result.Watched{}},
		"no arguments of": {},
	} {
		if _, err := rerun.Machine(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
}
