package machine_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sockets are those of a run.
var sockets = machine.Sockets{Console: "/run/console", QMP: 4, Seat: 5, GDB: 6, Agent: 7, RAM: 8}

// spec is a machine as the plan makes it.
func spec(sc scenarios.Scenario, accel result.Accel) machine.Spec {
	s := machine.Spec{
		QEMU: "/usr/bin/" + sc.Arch.Facts().QEMU, Scenario: sc, Accel: accel, Kernel: "/cache/kernel/vmlinux", Sockets: sockets,
	}
	if sc.Initramfs != scenarios.NoInitrd {
		s.Initrd = "/cache/initrd"
	}
	if sc.Root == scenarios.Ext4 {
		s.KernelArgs = []string{"root=LABEL=unwedge"}
		s.Disks = append(s.Disks, machine.Disk{Path: "/cache/root.img", Serial: "unwedge-root"})
	}
	if sc.Initramfs.FIPS() {
		s.Disks = append(s.Disks, machine.Disk{Path: "/cache/boot.img", Serial: "unwedge-boot"})
	}
	return s
}

// cells calls f for every cell of the catalogue under both accelerators.
func cells(t *testing.T, f func(t *testing.T, s machine.Spec)) {
	t.Helper()
	for _, tmpl := range scenarios.Builtin() {
		for _, sc := range tmpl.Cells() {
			for _, accel := range []result.Accel{result.TCG, result.KVM} {
				t.Run(sc.Name+"/"+string(accel), func(t *testing.T) { f(t, spec(sc, accel)) })
			}
		}
	}
}

// The golden file has one argument on a line, so that a change shows as what
// it is. The real oracle, QEMU itself, is asked by the suites.
func TestGolden(t *testing.T) {
	for _, a := range arch.All() {
		for _, e := range scenarios.Entropies() {
			for _, accel := range []result.Accel{result.TCG, result.KVM} {
				name := strings.Join([]string{string(a), string(e), string(accel)}, "-")
				t.Run(name, func(t *testing.T) {
					s := spec(scenarios.Scenario{
						Name: "golden", Arch: a, Entropy: e, Initramfs: scenarios.Tiny, Root: scenarios.NoRoot,
						MemoryMiB: 512, CPUs: 2, Cmdline: []string{"quiet"},
					}, accel)
					got := strings.Join(s.Args(), "\n") + "\n"
					file := filepath.Join("testdata", name+".txt")
					if *update {
						if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
							t.Fatal(err)
						}
					}
					want, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					if got != string(want) {
						t.Errorf("arguments:\n%s\nwant:\n%s", got, want)
					}
				})
			}
		}
	}
}

func TestEveryCellIsBareAndContained(t *testing.T) {
	cells(t, func(t *testing.T, s machine.Spec) {
		args := s.Args()
		for _, flag := range []string{"-nodefaults", "-no-user-config", "-S", "-no-shutdown"} {
			if !slices.Contains(args, flag) {
				t.Errorf("no %s in %q", flag, args)
			}
		}
		for name, want := range map[string]string{
			"-sandbox": "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
			"-display": "none", "-accel": string(s.Accel),
			"-m": strconv.Itoa(s.Scenario.MemoryMiB) + "M", "-smp": strconv.Itoa(s.Scenario.CPUs),
			"-kernel": s.Kernel, "-append": s.Cmdline(),
		} {
			if got := value(t, args, name); got != want {
				t.Errorf("%s %s, want %s", name, got, want)
			}
		}
		all := strings.Join(args, " ")
		if strings.Contains(all, "netdev") || strings.Contains(all, "virtio-net") {
			t.Error("a network that nobody asked for")
		}
		if !strings.Contains(s.Cmdline(), "sysrq_always_enabled") || !strings.Contains(s.Cmdline(), "console="+s.Scenario.Arch.Facts().Console) {
			t.Errorf("kernel command line %q", s.Cmdline())
		}
		noDuplicateIDs(t, args)
	})
}

// value is the argument of an option that is there once.
func value(t *testing.T, args []string, name string) string {
	t.Helper()
	i := slices.Index(args, name)
	if i < 0 || i+1 == len(args) || slices.Contains(args[i+1:], name) {
		t.Errorf("%s is not there once, with a value", name)
		return ""
	}
	return args[i+1]
}

var idOf = regexp.MustCompile(`(?:^|,)id=([^,]*)`)

func noDuplicateIDs(t *testing.T, args []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, a := range args {
		for _, m := range idOf.FindAllStringSubmatch(a, -1) {
			if seen[m[1]] {
				t.Errorf("id %s is there twice in %q", m[1], args)
			}
			seen[m[1]] = true
		}
	}
}

func TestNoEntropyByAccident(t *testing.T) {
	cells(t, func(t *testing.T, s machine.Spec) {
		args := strings.Join(s.Args(), " ")
		if has, want := strings.Contains(args, "virtio-rng"), s.Scenario.Entropy == scenarios.VirtioRNG; has != want {
			t.Errorf("virtio-rng: %v, want %v", has, want)
		}
		for _, w := range []string{"random.trust_cpu=off", "random.trust_bootloader=off"} {
			if !slices.Contains(strings.Fields(s.Cmdline()), w) {
				t.Errorf("no %s in %q", w, s.Cmdline())
			}
		}
		cpu, m := value(t, s.Args(), "-cpu"), value(t, s.Args(), "-machine")
		var withheld bool
		switch {
		case s.Scenario.Arch == arch.X86_64 && s.Accel == result.KVM:
			withheld = cpu == "host,-rdrand,-rdseed"
		case s.Scenario.Arch == arch.X86_64:
			withheld = cpu == "qemu64" // has neither (target/i386/cpu.c)
		case s.Accel == result.KVM:
			withheld = cpu == "host" && strings.Contains(m, "dtb-randomness=off")
		default:
			withheld = cpu == "cortex-a57" && strings.Contains(m, "dtb-randomness=off")
		}
		if !withheld {
			t.Errorf("-cpu %s -machine %s may hand the guest entropy", cpu, m)
		}
	})
}

func TestSlotOnlyWhenAsked(t *testing.T) {
	for _, a := range arch.All() {
		s := spec(scenarios.Scenario{Arch: a, Entropy: scenarios.None, MemoryMiB: 64, CPUs: 1}, result.TCG)
		if strings.Contains(strings.Join(s.Args(), " "), "pcie-root-port") {
			t.Errorf("%s: a slot that nobody asked for", a)
		}
		s.Slot = true
		if !slices.Contains(s.Args(), "pcie-root-port,id="+machine.SlotID+",chassis=1") {
			t.Errorf("%s: no slot in %q", a, s.Args())
		}
		noDuplicateIDs(t, s.Args())
	}
}

func TestNetworkOnlyWhenAsked(t *testing.T) {
	sc := scenarios.Scenario{Arch: arch.X86_64, Entropy: scenarios.None, Network: true, MemoryMiB: 64, CPUs: 1}
	args := spec(sc, result.TCG).Args()
	if got := value(t, args, "-netdev"); got != "user,id=net0" {
		t.Errorf("-netdev %s", got)
	}
	noDuplicateIDs(t, args)
}

func TestPathsWithCommasAndSpaces(t *testing.T) {
	s := machine.Spec{
		QEMU: "/opt/q e,mu", Scenario: scenarios.Scenario{Arch: arch.AArch64, Entropy: scenarios.None, MemoryMiB: 64, CPUs: 1},
		Kernel: "/a, b/k", Initrd: "/a, b/i",
		Disks: []machine.Disk{{Path: "/a, b/d,readonly=on", Serial: "x,y"}, {Path: "/plain", BPS: 4096}},
	}
	args := s.Args()
	if value(t, args, "-kernel") != "/a, b/k" || value(t, args, "-initrd") != "/a, b/i" {
		t.Errorf("-kernel and -initrd take a path as it is: %q", args)
	}
	for _, want := range []string{
		"if=none,format=raw,snapshot=on,id=disk0,file=/a,, b/d,,readonly=on", "virtio-blk-pci,drive=disk0,serial=x,,y",
		"if=none,format=raw,snapshot=on,id=disk1,file=/plain,throttling.bps-total=4096", "virtio-blk-pci,drive=disk1",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("no %q in %q", want, args)
		}
	}
	noDuplicateIDs(t, args)
}

func TestOneThreadIsTCGs(t *testing.T) {
	sc := scenarios.Scenario{Arch: arch.X86_64, Entropy: scenarios.None, CPUs: 2}
	for accel, want := range map[result.Accel]string{result.TCG: "tcg,thread=single", result.KVM: "kvm"} {
		s := spec(sc, accel)
		s.OneThread = true
		if got := value(t, s.Args(), "-accel"); got != want {
			t.Errorf("-accel %s, want %s", got, want)
		}
	}
}

// The scenario's words come last: the kernel takes the last of two.
func TestCmdlineOrder(t *testing.T) {
	s := spec(scenarios.Scenario{Arch: arch.X86_64, Entropy: scenarios.None, Root: scenarios.Ext4, Cmdline: []string{"random.trust_cpu=on", "a=b"}}, result.TCG)
	if got := s.Cmdline(); !strings.HasSuffix(got, " root=LABEL=unwedge random.trust_cpu=on a=b") {
		t.Errorf("command line %q", got)
	}
}

// What is printed for a person is what a shell makes of it. Oracle: sh itself.
func TestCommandLineSurvivesAShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	hostile := []string{
		"plain", "", " ", "a b", "it's", `"`, `\`, "$HOME", "`id`", "$(id)", "a;b", "a&b", "*", "~", "#x", "-n", "a\nb", "a\tb",
		"é", "\x1b[31m", "\xff", "=", "!x", "{a,b}", "'", "''", `\'`,
	}
	s := machine.Spec{
		QEMU: "/a dir/it's $qemu", Kernel: "/k `x`\\", Initrd: "-i",
		Scenario: scenarios.Scenario{Arch: arch.X86_64, Entropy: scenarios.VirtioRNG, Network: true, Cmdline: hostile, MemoryMiB: 64, CPUs: 1},
		Disks:    []machine.Disk{{Path: "/d 'x',\"y\""}}, Sockets: sockets,
	}
	words := func(script string) []string {
		out, err := exec.CommandContext(t.Context(), sh, "-c", `printf '%s\0' `+script).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, script)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	byHand := s
	byHand.Sockets = machine.Sockets{}
	if got, want := words(s.CommandLine()), append([]string{s.QEMU}, byHand.Args()...); !slices.Equal(got, want) {
		t.Errorf("a shell reads %q\nwant         %q", got, want)
	}
	for _, w := range hostile {
		if got := words(machine.Quote(w)); len(got) != 1 || got[0] != w {
			t.Errorf("a shell reads %q as %q", machine.Quote(w), got)
		}
	}
	if strings.Contains(s.CommandLine(), "fd=") {
		t.Errorf("%s: nobody has those descriptors by hand", s.CommandLine())
	}
}

func TestPure(t *testing.T) {
	s := spec(scenarios.Scenario{Arch: arch.X86_64, Entropy: scenarios.VirtioRNG, Cmdline: []string{"x"}, MemoryMiB: 64, CPUs: 1}, result.TCG)
	first := s.Args()
	first[0] = "changed"
	_ = s.CommandLine()
	if second := s.Args(); second[0] == "changed" || s.Sockets != sockets {
		t.Error("a Spec changed by being read")
	}
}

// A kernel that is told of no console and no sysrq is told of nothing else less.
func TestWithout(t *testing.T) {
	for _, a := range arch.All() {
		s := machine.Spec{Scenario: scenarios.Scenario{Arch: a, MemoryMiB: 512, CPUs: 1, Entropy: scenarios.None}}
		with := s.Cmdline()
		s.Scenario.Without = []scenarios.Facility{scenarios.Console, scenarios.SysRq}
		var lost []string
		for w := range strings.FieldsSeq(with) {
			if !slices.Contains(strings.Fields(s.Cmdline()), w) {
				name, _, _ := strings.Cut(w, "=")
				lost = append(lost, name)
			}
		}
		if want := []string{"earlycon", "console", "sysrq_always_enabled"}; !slices.Equal(lost, want) {
			t.Errorf("%s: lost %q, want %q", a, lost, want)
		}
	}
}

// What this host's KVM cannot give is switched off under KVM, and only there.
func TestCPULacks(t *testing.T) {
	for accel, want := range map[result.Accel]bool{result.KVM: true, result.TCG: false} {
		s := machine.Spec{Accel: accel, Scenario: scenarios.Scenario{Arch: arch.X86_64, Entropy: scenarios.VirtioRNG}, CPULacks: []string{"arch-capabilities"}}
		if got := strings.Contains(strings.Join(s.Args(), " "), "arch-capabilities=off"); got != want {
			t.Errorf("%s: %v", accel, s.Args())
		}
	}
}

// A guest's own parts, and what nobody may write.
func TestOwnParts(t *testing.T) {
	for _, a := range arch.All() {
		sc := scenarios.Scenario{
			Arch: a, Entropy: scenarios.None, MemoryMiB: 64, CPUs: 1, BootDisk: true, Disk: "/d", Firmware: scenarios.UEFI,
			CPUModel: "max", Devices: []string{"demo,id=x"}, QEMUArgs: []string{"-name", "demo"},
		}
		s := spec(sc, result.TCG)
		s.Kernel, s.Initrd = "", ""
		s.Disks = []machine.Disk{{Path: "/d", Format: "qcow2", Boot: true}}
		s.Firmware = arch.FirmwareFiles{Code: "/c", Vars: "/v"}
		args := s.Args()
		for _, want := range []string{
			"if=pflash,format=raw,unit=0,readonly=on,file=/c", "if=pflash,format=raw,unit=1,snapshot=on,file=/v",
			"if=none,format=qcow2,snapshot=on,id=disk0,file=/d", "virtio-blk-pci,drive=disk0,bootindex=0", "demo,id=x", "max" + a.Facts().Seedless,
		} {
			if !slices.Contains(args, want) {
				t.Errorf("%s: no %q in %q", a, want, args)
			}
		}
		if slices.Contains(args, "-kernel") || slices.Contains(args, "-append") || s.Cmdline() != "" {
			t.Errorf("%s: a kernel beside that of the disk: %q", a, args)
		}
		if !slices.Equal(args[len(args)-2:], sc.QEMUArgs) {
			t.Errorf("%s: the user's arguments are not last: %q", a, args)
		}
		sc = scenarios.Scenario{Arch: a, Entropy: scenarios.None, MemoryMiB: 64, CPUs: 1, RootDir: "/a,b"}
		if args := spec(sc, result.TCG).Args(); !slices.Contains(args, "local,id=root,security_model=none,readonly=on,multidevs=remap,path=/a,,b") {
			t.Errorf("%s: %q", a, args)
		}
		for _, m := range a.Facts().Machines {
			sc := scenarios.Scenario{Arch: a, Entropy: scenarios.Host, MemoryMiB: 64, CPUs: 1, Machine: m.Name}
			if got := value(t, spec(sc, result.TCG).Args(), "-machine"); !strings.HasPrefix(got, m.QEMU) {
				t.Errorf("%s: -machine %s for %s", a, got, m.Name)
			}
		}
	}
}
