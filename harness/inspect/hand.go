package inspect

import (
	"fmt"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Hand is what the commands are made of by which a person goes on by hand.
type Hand struct {
	// QMP and GDB are the sockets of a kept guest, "" for a dump.
	QMP, GDB string
	// Domain is that of a guest of libvirt's, and URI its connection.
	Domain, URI string
	// Host is this machine's arch.
	Host arch.Arch
	// Vmlinux is a file with the kernel's symbols, "" where none is known.
	Vmlinux string
	// Link is the address that the image's first byte is linked at.
	Link uint64
	// VMCoreInfo says that the dump has what drgn wants of it.
	VMCoreInfo bool
}

// Command is one command line to go on by hand.
type Command struct {
	// Tool is the program: gdb, crash, drgn, or dump for a memory dump.
	Tool string `json:"tool"`
	// Line is the command line.
	Line string `json:"line"`
	// Note is what to know about it.
	Note string `json:"note,omitempty"`
}

// noVmlinux stands for the file that a reader has to find.
const noVmlinux = "VMLINUX"

// commands are the lines for gdb, crash and drgn, and for the dump that the
// latter two want.
func (h Hand) commands(r *Report) []Command {
	var out []Command
	vmlinux, note := machine.Quote(h.Vmlinux), ""
	if h.Vmlinux == "" {
		vmlinux, note = noVmlinux, noVmlinux+" is the kernel's vmlinux with debug information: a build tree has it, or the distribution's debug package"
	}
	if h.GDB != "" {
		out = append(out, h.gdb(r))
	}
	file := r.Source.Dump
	if h.Domain != "" {
		file = "memory.elf"
		out = append(out, Command{Tool: "dump", Line: fmt.Sprintf("virsh -c %s dump --memory-only --live %s %s", machine.Quote(h.URI), machine.Quote(h.Domain), file)})
	}
	if h.QMP != "" && file == "" {
		if file = filepath.Join(r.Source.Run, "memory.elf"); r.Source.Run == "" {
			file = "/tmp/memory.elf" // QEMU writes it, in a directory of its own
		}
		qmp := fmt.Sprintf(`{"execute":"dump-guest-memory","arguments":{"paging":false,"protocol":%q}}`, "file:"+file)
		out = append(out, Command{
			Tool: "dump",
			Line: fmt.Sprintf("printf '%%s\\n' %s %s | nc -w 10 -U %s", machine.Quote(`{"execute":"qmp_capabilities"}`), machine.Quote(qmp), machine.Quote(h.QMP)),
			Note: "HMP: dump-guest-memory " + file,
		})
	}
	if file == "" {
		return clean(out)
	}
	crash := "crash "
	if i := isa.Of(r.Kernel.Arch); i != nil {
		crash += i.Crash(h.Link, r.Offset, r.PhysBase)
	}
	out = append(out,
		Command{Tool: "crash", Line: crash + vmlinux + " " + machine.Quote(file), Note: note},
		Command{Tool: "drgn", Line: fmt.Sprintf("drgn -c %s -s %s", machine.Quote(file), vmlinux)})
	if !h.VMCoreInfo {
		out[len(out)-1].Note = "needs a VMCOREINFO note in the dump: QEMU writes one if the guest had -device vmcoreinfo"
	}
	return clean(out)
}

func (h Hand) gdb(r *Report) Command {
	gdb := "gdb"
	if r.Kernel.Arch != h.Host {
		gdb = "gdb-multiarch"
	}
	target := "-ex " + machine.Quote("target remote "+h.GDB)
	if h.Vmlinux == "" {
		return Command{Tool: "gdb", Line: gdb + " " + target}
	}
	symbols := machine.Quote(fmt.Sprintf("symbol-file %s -o %#x", h.Vmlinux, r.Offset))
	return Command{Tool: "gdb", Line: fmt.Sprintf("%s -ex %s %s", gdb, symbols, target)}
}

// clean makes lines that hold a user's paths safe to show.
func clean(all []Command) []Command {
	for i := range all {
		all[i].Line, all[i].Note = console.Sanitize(all[i].Line), console.Sanitize(all[i].Note)
	}
	return all
}
