package accel

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed guest/x86_64.bin
var x86Code []byte

// spoken is what the test guest prints where it has no other way to answer.
const spoken = "unwedge"

// guest is the test guest of one architecture: a machine, some code, and how
// its run is told from one that did not happen.
type guest struct {
	machine []string
	code    func() []byte
	// load is the QEMU option that takes the code's file.
	load string
	// ran says whether the guest did all it should have.
	ran func(exit qemu.Exit, serial string) error
}

func guestFor(a arch.Arch) (guest, error) {
	switch a {
	case arch.X86_64:
		return guest{
			machine: []string{"-machine", "q35", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"},
			code:    x86ROM, load: "-bios",
			ran: func(exit qemu.Exit, _ string) error {
				// isa-debug-exit: a byte v written ends QEMU with status
				// 2v+1 (hw/misc/debugexit.c). The guest writes 0x2a.
				if exit.Code == 2*0x2a+1 {
					return nil
				}
				return unexpected(exit)
			},
		}, nil
	case arch.AArch64:
		return guest{
			machine: []string{"-machine", "virt,gic-version=max", "-m", "64"},
			code:    arm64Image, load: "-kernel",
			ran: func(exit qemu.Exit, serial string) error {
				if exit.Code == 0 && serial == spoken {
					return nil
				}
				return unexpected(exit)
			},
		}, nil
	}
	return guest{}, fmt.Errorf("no test guest for architecture %q", a)
}

func unexpected(exit qemu.Exit) error {
	if err := exit.Err(); err != nil {
		return err
	}
	return errors.New("QEMU ended before the test guest had answered")
}

// x86ROM is the code of guest/x86_64.S as a 64 KiB BIOS, which QEMU maps at
// 0xf0000 and below 4 GiB, where the CPU starts 16 bytes from the end: there
// is the far jump to f000:0000.
func x86ROM() []byte {
	rom := make([]byte, 64<<10)
	copy(rom, x86Code)
	copy(rom[len(rom)-16:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0})
	return rom
}

// arm64Image is a flat kernel for the `virt` machine, entered with the MMU
// off: it writes memory and reads it back, sees the counter advance, prints
// the word on the PL011 at 0x09000000 and switches the machine off by PSCI.
func arm64Image() []byte {
	words := []uint32{
		0x10008003, //    adr  x3, .+4096
		0x528b54a4, //    mov  w4, #0x5aa5
		0xb9000064, //    str  w4, [x3]
		0xb9400065, //    ldr  w5, [x3]
		0x6b05009f, //    cmp  w4, w5
		0x54000001, //    b.ne .
		0xd53be046, //    mrs  x6, cntvct_el0
		0xd53be047, // 1: mrs  x7, cntvct_el0
		0xeb0700df, //    cmp  x6, x7
		0x54ffffc0, //    b.eq 1b
		0xd2a12001, //    mov  x1, #0x09000000
	}
	for _, c := range []byte(spoken) {
		words = append(words,
			0x52800002|uint32(c)<<5, // mov w2, #c
			0xb9000022)              // str w2, [x1]
	}
	words = append(words,
		0x52800100, // mov  w0, #0x0008
		0x72b08000, // movk w0, #0x8400, lsl #16: PSCI SYSTEM_OFF
		0xd4000002, // hvc  #0
		0x14000000) // b    .
	var image []byte
	for _, w := range words {
		image = binary.LittleEndian.AppendUint32(image, w)
	}
	return image
}

// cpuModel is what the project's own guests run on.
func cpuModel(name string) string {
	if name == KVM {
		return "host"
	}
	return "max"
}

// command lays the guest out in dir and returns how to run it.
func (g guest) command(qemuPath, accel, cpu, dir string) (qemu.Command, error) {
	code := filepath.Join(dir, "guest")
	if err := os.WriteFile(code, g.code(), 0o600); err != nil {
		return qemu.Command{}, fmt.Errorf("write test guest: %w", err)
	}
	args := slices.Concat(g.machine, []string{
		"-accel", accel, "-cpu", cpu, "-nodefaults", "-no-user-config", "-display", "none",
		"-chardev", "file,id=serial,path=" + strings.ReplaceAll(serialFile(dir), ",", ",,"), "-serial", "chardev:serial",
		g.load, code,
	})
	// Dir: a QEMU that aborts may leave a core file where it runs.
	return qemu.Command{Path: qemuPath, Args: args, Dir: dir}, nil
}

func serialFile(dir string) string { return filepath.Join(dir, "serial") }
