package arch

import "encoding/binary"

// AArch64 is 64-bit Arm.
const AArch64 Arch = "aarch64"

var aarch64 = Facts{
	GOARCH: "arm64", Debian: "arm64", Source: "arm64", Make: "arm64", Option: "CONFIG_ARM64",
	BootTarget: "Image", BootImages: []string{"arch/arm64/boot/Image", "arch/arm64/boot/Image.gz", "arch/arm64/boot/vmlinuz.efi"},
	Multiarch: "aarch64-linux-gnu", ELF: 183,

	QEMU:         "qemu-system-aarch64",
	QEMUPackages: Packages{APT: "qemu-system-arm", DNF: "qemu-system-aarch64-core", Pacman: "qemu-system-aarch64", Zypper: "qemu-arm"},
	Machines: []MachineType{ // docs/system/arm/virt.rst
		{Name: "virt", QEMU: "virt", Slots: true, UEFI: true},
		{Name: "virt-gic2", QEMU: "virt,gic-version=2", Slots: true, UEFI: true},
		{Name: "virt-gic3", QEMU: "virt,gic-version=3", Slots: true, UEFI: true},
		{Name: "virt-gic4", QEMU: "virt,gic-version=4,virtualization=on", Slots: true, UEFI: true},
	},
	UEFI: []FirmwareFiles{
		{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},                                // Debian, Fedora
		{"/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"}, // Fedora
		{"/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"},                    // Arch
		{"/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"},                // openSUSE
	},
	UEFIPackages:  Packages{APT: "qemu-efi-aarch64", DNF: "edk2-aarch64", Pacman: "edk2-aarch64", Zypper: "qemu-uefi-aarch64"},
	DisksNeedUEFI: true,
	// rng-seed and kaslr-seed; QEMU 7.2 and later (docs/system/arm/virt.rst).
	WithholdSeeds: "dtb-randomness=off",
	// cortex-a57 has no RNDR, and no pointer authentication to emulate: the architected
	// algorithm of max is very slow under TCG. KVM cannot mask RNDR:
	// random.trust_cpu=off does it.
	CPU:     CPUs{KVM: "host", KVMSeedless: "host", TCG: "max,pauth-impdef=on", TCGSeedless: "cortex-a57"},
	Console: "ttyAMA0", EarlyConsole: "pl011,0x9000000", // hw/arm/virt.c's memory map
	Test: TestGuest{
		Machine: []string{"-machine", "virt,gic-version=max", "-m", "64"},
		Load:    "-kernel", Code: arm64Image, Serial: spoken,
	},
}

// spoken is what the test guest prints.
const spoken = "unwedge"

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
