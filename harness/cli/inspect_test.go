package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/inspect"
	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestInspectDump(t *testing.T) {
	isolated(t)
	write(t, "vmlinux", fake.Image())
	write(t, "memory.elf", fake.Booted().Dump())
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"6.1.0-unwedge  x86_64", "3.0 s or more", "moved by 0x1e00000", "swapper (PID 0) in start_kernel+0x10/0x100", "entropy-starvation", "modules:  unwedge_fault", "crash --kaslr 0x1e00000 VMLINUX"}},
		{[]string{"--tasks"}, []string{"      1       1 S   0 init            wait_for_random_bytes (getrandom)\n", "wait_forever: mutex some_mutex [unwedge_fault]: kthreadd (PID 2, state S) holds it"}},
		{[]string{"--stacks"}, []string{"task:init ", "task:kthreadd ", " wait_for_random_bytes+0x10/0x100\n", " wait_forever+0x10/0xfe0 [unwedge_fault]\n"}},
		{[]string{"--dmesg"}, []string{"[    0.000000] Linux version\n", "starting ␛[2J\n"}},
		{[]string{"--modules"}, []string{"unwedge_fault\n"}},
		{[]string{"2"}, []string{"task:kthreadd "}},
		{[]string{"--tasks", "1", "2"}, []string{" init ", " kthreadd "}},
	} {
		// By its option, and in a run's place.
		for _, args := range [][]string{{"--dump", "memory.elf"}, {"memory.elf"}} {
			r := unwedge(t, "", append(append([]string{"inspect", "-k", "vmlinux"}, args...), tt.args...)...)
			if r.code != exitFine || r.stderr != "" {
				t.Errorf("%q: code %d, %s", tt.args, r.code, r.stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("%q lacks %q:\n%s", tt.args, want, r.stdout)
				}
			}
			noControls(t, r.stdout)
		}
	}
	if r := unwedge(t, "", "inspect", "--dump", "memory.elf", "-k", "vmlinux", "2"); strings.Contains(r.stdout, "task:init") {
		t.Errorf("a task that was not asked for:\n%s", r.stdout)
	}
	r := unwedge(t, "", "inspect", "--dump", "memory.elf", "-k", "vmlinux", "--json")
	var got inspect.Report
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Schema != inspect.Schema || got.Version != "v1.2.3" || len(got.Tasks) != 4 || !got.Complete {
		t.Errorf("%v: %s", err, r.stdout)
	}
	// What one command prints the other reads.
	stacks := unwedge(t, "", "inspect", "--dump", "memory.elf", "-k", "vmlinux", "--stacks").stdout
	if r := unwedge(t, stacks, "explain", "-"); r.code != exitFine || !strings.Contains(r.stdout, "entropy-starvation") {
		t.Errorf("explain: code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func TestInspectErrors(t *testing.T) {
	isolated(t)
	write(t, "vmlinux", fake.Image())
	good := fake.Booted().Dump()
	write(t, "memory.elf", good)
	write(t, "cut.elf", good[:len(good)/2])
	write(t, "memory.kdump", []byte("makedumpfile\x00"))
	write(t, "text", []byte("no dump at all"))
	write(t, "empty.elf", make(fake.Guest, fake.RamSize).Dump())
	other := make(fake.Guest, fake.RamSize)
	copy(other[0x1000:], "Linux version 7.7.7 (a@b) (gcc) #9 SMP Fri\n")
	write(t, "other.elf", other.Dump())
	early := fake.Early()
	early.Put(fake.PhysBase+fake.InitTask+fake.Offset("task_struct", "stack"), 0)
	write(t, "early.elf", early.Dump())
	nolog := fake.Booted()
	nolog.Put(fake.PhysBase+fake.DataAt+0x200, 0) // prb
	write(t, "nolog.elf", nolog.Dump())
	write(t, "bare", kerneltest.Vmlinux())
	write(t, "nobtf", kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: fake.Link, Data: make([]byte, fake.RodataAt)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: fake.Link + fake.RodataAt, Data: fake.RodataSection()},
	))
	write(t, "Image", kerneltest.Image())
	keptNot := &result.Result{Schema: result.Schema, Dir: "run", Files: map[string]string{}}
	if err := os.Mkdir("run", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := keptNot.Write(rundir.Result); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		code  int
		args  []string
		words []string
	}{
		{exitUsage, nil, []string{"was kept", "--dump FILE"}},
		{exitUsage, []string{"nowhere"}, []string{"nowhere"}},
		{exitUsage, []string{"run"}, []string{"run", "no guest was kept", "--keep"}},
		{exitUsage, []string{"memory.elf"}, []string{"name its kernel with --kernel"}},
		{exitUsage, []string{"run", "one"}, []string{`PID "one"`}},
		{exitUsage, []string{"run", "-1"}, []string{"-1"}},
		{exitUsage, []string{"memory.elf", "-k", "vmlinux", "77"}, []string{"no task with PID 77"}},
		{exitUsage, []string{"memory.elf", "-k", "vmlinux", "--dmesg", "1"}, []string{"PIDs go with"}},
		{exitUsage, []string{"memory.elf", "-k", "vmlinux", "--dmesg", "--json"}, []string{"--dmesg and --json", "one view"}},
		{exitUsage, []string{"memory.elf", "-k", "vmlinux", "--maps"}, []string{"--maps", "PIDs"}},
		{exitKernel, []string{"memory.elf", "-k", "vmlinux", "--maps", "2"}, []string{"mappings could not be read"}},
		{exitUsage, []string{"cut.elf", "-k", "vmlinux"}, []string{"cut.elf", "truncated"}},
		{exitUsage, []string{"memory.kdump", "-k", "vmlinux"}, []string{"memory.kdump", "truncated"}},
		{exitUsage, []string{"text", "-k", "vmlinux"}, []string{"not a memory dump"}},
		{exitUsage, []string{"--dump", "nowhere", "-k", "vmlinux"}, []string{"nowhere", "no such file"}},
		{exitUsage, []string{"memory.elf", "-k", "nowhere"}, []string{`kernel "nowhere"`}},
		{exitUsage, []string{"memory.elf", "-k", "Image"}, []string{"Image", "aarch64"}},
		{exitUsage, []string{"other.elf", "-k", "vmlinux"}, []string{"another kernel", "7.7.7 #9 SMP Fri", "6.1.0-unwedge"}},
		{exitKernel, []string{"memory.elf", "-k", "nobtf"}, []string{"nobtf", "no BTF", "CONFIG_DEBUG_INFO_BTF"}},
		{exitKernel, []string{"memory.elf", "-k", "bare"}, []string{"bare", "kallsyms"}},
		{exitKernel, []string{"empty.elf", "-k", "vmlinux"}, []string{"not in the guest's memory"}},
		{exitKernel, []string{"early.elf", "-k", "vmlinux"}, []string{"start_kernel"}},
		{exitKernel, []string{"nolog.elf", "-k", "vmlinux", "--dmesg"}, []string{"log could not be read"}},
	} {
		r := unwedge(t, "", append([]string{"inspect"}, tt.args...)...)
		if r.code != tt.code || r.stdout != "" {
			t.Errorf("%q: code %d, want %d\n%s", tt.args, r.code, tt.code, r.stdout)
		}
		onlyLine(t, r, tt.words...)
	}
}

// A kept guest is read from the memory of its QEMU. Its monitor does not answer
// here, which is told, and the rest is there.
func TestInspectKept(t *testing.T) {
	dir := isolated(t)
	vmlinux := write(t, "vmlinux", fake.Image())
	fd, err := unix.MemfdCreate("unwedge-ram", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	ram := os.NewFile(uintptr(fd), "unwedge-ram")
	defer ram.Close()
	if _, err := ram.WriteAt(fake.Booted(), 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/cat", "-") // stands for QEMU
	cmd.ExtraFiles = []*os.File{ram}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no cat: %v", err)
	}
	end := func() {
		in.Close()
		_ = cmd.Wait() // it may have been waited for
	}
	defer end()
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it runs by now
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	res := &result.Result{
		Schema: result.Schema, Dir: run, Files: map[string]string{},
		Scenario: scenarios.Scenario{Arch: arch.X86_64, MemoryMiB: fake.RamSize >> 20},
		Kernel:   result.Kernel{Booted: vmlinux}, Host: result.Host{Args: []string{"-"}},
		Kept: &result.Kept{PID: cmd.Process.Pid, QMP: filepath.Join(run, "qmp"), GDB: filepath.Join(run, "gdb")},
	}
	if err := res.Write(rundir.Result); err != nil {
		t.Fatal(err)
	}
	r := unwedge(t, "", "inspect", "run")
	if r.code != exitFine || r.stderr != "" {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
	for _, want := range []string{"4 tasks", "entropy-starvation", "problem:  the vCPUs' registers:", "target remote " + run + "/gdb", "dump-guest-memory " + run + "/memory.elf"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q:\n%s", want, r.stdout)
		}
	}
	// A dump may stand for the memory, and the run still says which kernel it is.
	write(t, "memory.elf", fake.Booted().Dump())
	if r := unwedge(t, "", "inspect", "run", "--dump", "memory.elf", "--tasks"); r.code != exitFine || !strings.Contains(r.stdout, "wait_for_random_bytes") {
		t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	end()
	r = unwedge(t, "", "inspect", "run")
	if r.code != exitKernel {
		t.Errorf("code %d for a guest that is gone", r.code)
	}
	onlyLine(t, r, "the kept guest is gone")
}
