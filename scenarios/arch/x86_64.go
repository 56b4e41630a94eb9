package arch

import _ "embed"

// X86_64 is the 64-bit PC.
const X86_64 Arch = "x86_64" //nolint:revive // the kernel's own spelling

var x86_64 = Facts{
	GOARCH: "amd64", Debian: "amd64", Source: "x86", Make: "x86_64", Option: "CONFIG_X86_64",
	BootTarget: "bzImage", BootImages: []string{"arch/x86/boot/bzImage"},
	Multiarch: "x86_64-linux-gnu", ELF: 62,

	QEMU:         "qemu-system-x86_64",
	QEMUPackages: Packages{APT: "qemu-system-x86", DNF: "qemu-system-x86-core", Pacman: "qemu-system-x86", Zypper: "qemu-x86"},
	Machines: []MachineType{
		// Where the hole below 4 GiB may begin, and where RAM is cut once there is more
		// than that: hw/i386/pc_q35.c pc_q35_init, pc_piix.c pc_init1, microvm.c
		// microvm_memory_init. graphics=off has SeaBIOS print to the UART (sercon).
		{Name: "q35", QEMU: "q35", HasKeyboard: true, Slots: true, UEFI: true, Serial: "graphics=off", Limit: 0xb0000000, Low: 2 << 30},
		{Name: "pc", QEMU: "pc", HasKeyboard: true, UEFI: true, Serial: "graphics=off", Limit: 0xe0000000, Low: 3 << 30},
		{Name: "microvm", QEMU: "microvm,pcie=on,rtc=on,acpi=on", Limit: 3 << 30, Low: 3 << 30},
	},
	Seedless: ",-rdrand,-rdseed",
	UEFI: []FirmwareFiles{
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},                 // Debian
		{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},             // Fedora
		{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},         // Arch
		{"/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"}, // openSUSE
	},
	UEFIPackages: Packages{APT: "ovmf", DNF: "edk2-ovmf", Pacman: "edk2-ovmf", Zypper: "qemu-ovmf-x86_64"},
	// qemu64 has neither RDRAND nor RDSEED.
	CPU: CPUs{
		KVM: "host", KVMSeedless: "host,-rdrand,-rdseed", TCG: "max", TCGSeedless: "qemu64",
		// arch/x86/include/asm/msr-index.h; target/i386/kvm/kvm.c sets each where the
		// feature is on.
		MSRs: map[uint32]string{
			0x48: "spec-ctrl", 0x10a: "arch-capabilities", 0x122: "tsx-ctrl", 0x345: "pdcm",
			0xda0: "xsaves", 0xe1: "waitpkg", 0x1c4: "amx-tile", 0x6e0: "tsc-deadline", 0xc0000103: "rdtscp",
		},
	},
	// Before 8.1 a vCPU may run code that another one has just patched as it was, and
	// the kernel panics with "Oops: int3" while it patches itself (reported by
	// R. W. M. Jones, qemu-devel and linux-kernel, July 2023; seen with 7.2).
	Threads: [2]int{8, 1},
	Console: "ttyS0", EarlyConsole: "uart8250,io,0x3f8", // the PC's COM1
	// The kernel tests whether timer interrupts arrive: it wants several within some
	// milliseconds and panics ("IO-APIC + timer doesn't work!") where the host was too
	// busy to run the guest. On KVM it skips the test by itself (arch/x86/kernel/kvm.c,
	// arch/x86/kernel/apic/io_apic.c).
	KernelArgs: []string{"no_timer_check"},
	HasNMI:     true,
	Test: TestGuest{
		Machine: []string{"-machine", "q35", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"},
		Load:    "-bios", Code: x86ROM,
		// isa-debug-exit: a byte v written ends QEMU with status 2v+1
		// (hw/misc/debugexit.c). The guest writes 0x2a.
		Exit: 2*0x2a + 1,
	},
}

//go:embed guest/x86_64.bin
var x86Code []byte

// x86ROM is the code of guest/x86_64.S as a 64 KiB BIOS, which QEMU maps at
// 0xf0000 and below 4 GiB, where the CPU starts 16 bytes from the end: there
// is the far jump to f000:0000.
func x86ROM() []byte {
	rom := make([]byte, 64<<10)
	copy(rom, x86Code)
	copy(rom[len(rom)-16:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0})
	return rom
}
