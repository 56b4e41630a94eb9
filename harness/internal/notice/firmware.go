package notice

import "github.com/unwedge/unwedge/harness/result"

// firmware fills in what most rows before the kernel have in common.
func firmware(rows ...Notice) []Notice {
	for i := range rows {
		if rows[i].Role == Go {
			continue
		}
		if rows[i].Cause == "" {
			rows[i].Cause = result.CauseFirmware
		}
		if rows[i].Where == "" {
			rows[i].Where = result.WhereFirmware
		}
	}
	return rows
}

// What several rows advise.
const (
	fixDisk  = "check the boot disk and its boot entries, or boot the kernel directly"
	fixEntry = "give the machine the disk that the boot entry names, or mend the boot entry"
	fixSign  = "sign the image with a key that the firmware trusts (db, or MOK for shim), or turn Secure Boot off for this machine"
	fixNet   = "check the guest's network, the DHCP answer (next-server, filename) and the boot server, or boot from a disk"
)

// host is QEMU itself, where its messages are in the log.
var host = firmware(
	Notice{Name: "qemu-kernel", Role: Stop, Where: result.WhereHost,
		Lines: []string{
			"qemu: could not open kernel file {}:",                 // hw/i386/x86.c
			"qemu: could not load kernel {}$",                      // hw/i386/x86.c, hw/arm/boot.c
			"^qemu-system-…: could not load kernel {}$",            // hw/arm/boot.c
			"^qemu-system-…: could not load initrd {}$",            // hw/arm/boot.c
			"qemu: error reading initrd {}:",                       // hw/i386/x86.c
			"Could not read kernel {}$",                            // as above, wrapped by tools
			"qemu: invalid kernel header",                          // hw/i386/x86.c
			"Error loading uncompressed kernel without PVH ELF No", // hw/i386/multiboot.c
		},
		Title: "QEMU refused the kernel", Means: "QEMU could not load the kernel or the initrd ({}), so the guest never started",
		Fix: "check the path, that the file is complete, and that it is a kernel for this machine (bzImage or a PVH vmlinux for x86, Image for arm64)"},
	Notice{Name: "vmm-refused", Role: Stop, Where: result.WhereHost,
		Lines: []string{
			"RunWithApiError error: {}", "Firecracker exiting with error. …: {}", // Firecracker
			"Error booting VM: {}", "ERROR crosvm] exiting with error 1: {}", // Cloud Hypervisor, crosvm
		},
		Title: "the virtual machine monitor did not start the guest", Means: "the virtual machine monitor could not start the guest: {}",
		Fix: "check the kernel image (an uncompressed vmlinux with PVH for Firecracker on x86_64, Image for arm64), the initrd, the disks and the memory that its configuration names"},
	Notice{Name: "kvm-failed", Role: Stop, Where: result.WhereHost,
		Lines: []string{"^KVM: entry failed, {}", "^KVM internal error. {}$", "^error: kvm run failed {}"}, // QEMU, accel/kvm and target/i386/kvm
		Title: "KVM could not run the guest", Means: "KVM could not run the guest any further ({}); the registers below it say where it was",
		Fix: "look at the registers and the code at RIP, try another CPU model or --accel tcg, and look for KVM's lines in the host's log; nested virtualization is a common reason"},
	Notice{Name: "qemu-drive", Role: Stop, Where: result.WhereHost,
		Lines: []string{"^qemu-system-…: …: Could not open '{}'", "^qemu-system-…: Failed to get \"write\" lock", "^qemu-system-…: …: Failed to get \"write\" lock"}, // block/file-posix.c
		Title: "QEMU could not open a disk", Means: "QEMU could not open a disk image ({}), so the guest never started",
		Fix: "check the path and its permissions, and that no other QEMU uses the image"},
	Notice{Name: "qemu-kvm", Role: Stop, Where: result.WhereHost,
		Lines: []string{"Could not access KVM kernel module: {}", "failed to initialize kvm: {}", "^qemu-system-…: invalid accelerator {}"}, // accel/kvm/kvm-all.c
		Title: "QEMU could not use KVM", Means: "QEMU could not use KVM ({}), so the guest never started",
		Fix: "check /dev/kvm and its permissions, or use -accel tcg"},
	Notice{Name: "qemu-memory", Role: Stop, Where: result.WhereHost,
		Lines: []string{"cannot set up guest memory '{}'"}, // system/physmem.c
		Title: "QEMU could not allocate the guest's memory", Means: "the host has not enough memory for the guest ({}), so it never started",
		Fix: "give the guest less memory (-m), or free some on the host"},
)

// uefi is EDK2 (OVMF, AAVMF), shim and systemd-boot.
var uefi = firmware(
	// MdeModulePkg and ArmPkg: the exception handlers.
	Notice{Name: "uefi-exception", Role: Stop,
		Lines: []string{
			"!!!! X64 Exception Type - {}  CPU Apic ID", "!!!! X64 Exception Type - {} CPU Apic ID", // UefiCpuPkg/Library/CpuExceptionHandlerLib/X64
			"!!!! IA32 Exception Type - {}  CPU Apic ID", "!!!! RISCV64 Exception Type - {}",
			"^{} Exception at 0x", // ArmPkg/Library/DefaultExceptionHandlerLib: Synchronous, IRQ, FIQ, SError
		},
		Title: "UEFI crashed: {} exception", Means: "UEFI, or a program that it had started, crashed before the kernel spoke: {} exception", After: true,
		Fix: "see what UEFI had started last (BdsDxe: starting ...) and the image in the register dump; try another firmware build, and a kernel with earlycon=efifb or efi=debug"},
	Notice{Name: "uefi-assert", Role: Stop,
		Lines: []string{"^ASSERT [{}]", "^ASSERT_EFI_ERROR ({})", "^DXE_ASSERT!: {}"}, // MdePkg/Library/BaseDebugLibSerialPort
		Title: "UEFI failed an assertion", Means: "UEFI failed an assertion in {} and stopped", After: true,
		Fix: "read the file and line of the assertion; try another firmware build, and the machine's memory and devices as they were when it worked"},
	Notice{Name: "secure-boot", Role: Why,
		Lines: []string{
			"BdsDxe: failed to load …: Access Denied", "BdsDxe: failed to load …: Security Violation", // MdeModulePkg/Library/UefiBootManagerLib/BmBoot.c
			"BdsDxe: failed to start …: Access Denied", "BdsDxe: failed to start …: Security Violation",
			"Verification failed: …Security Violation", "Verifying shim SBAT data failed: ", // shim
			"Something has gone seriously wrong: ", "start_image() returned Security Violation",
			"error: bad shim signature", "error: …bad shim signature", // GRUB, shim_lock
			"error: {} has invalid signature", "error: prohibited by secure boot policy", "error: …prohibited by secure boot policy",
			"error: verification requested but nobody cares: {}.", "error: …verification requested but nobody cares: {}.",
			"Failed to load image …: Access denied", "Failed to load image …: Security violation", "Error loading …: Access denied", "Error loading …: Security Policy Violation", // systemd-boot
		},
		Title: "Secure Boot refused an image", Means: "Secure Boot refused to load the boot loader or the kernel: its signature is missing or not trusted",
		Fix: fixSign},
	Notice{Name: "boot-entry", Role: Consequence,
		Lines: []string{"BdsDxe: failed to load {} from ", "BdsDxe: failed to start {} from "},
		Title: "UEFI could not load its boot entries", Means: "UEFI could not load {}, and no other boot entry started a kernel",
		Fix: fixEntry},
	Notice{Name: "shim-next", Role: Why,
		Lines: []string{"Failed to open {} - Not Found", "Failed to load image {}: Not Found", "start_image() returned Not Found"}, // shim.c
		Title: "shim did not find the next boot loader", Means: "shim did not find {}, the boot loader that it starts",
		Fix: "install the boot loader (grubx64.efi or grubaa64.efi) beside shim on the EFI system partition"},
	Notice{Name: "systemd-boot", Role: Why,
		Lines: []string{
			"No loader found. Configuration files in \\loader\\entries\\*.conf are needed", // src/boot/efi/boot.c
			"Error loading {}: ", "Error preparing initrd: {}$", "Failed to execute {} (", "Error starting kernel image: {}$",
			"systemd-boot assertion {} failed",
		},
		Title: "systemd-boot found no kernel that it could start", Means: "systemd-boot could not start a kernel: {}",
		Fix: "check the entries in loader/entries on the EFI system partition, and that the kernel and initrd that they name are there"},
	Notice{Name: "uefi-no-device", Role: Stop,
		Lines: []string{"BdsDxe: No bootable option or device was found"}, // BdsDxe/BdsEntry.c
		Title: "firmware found nothing to boot", Means: "UEFI found no bootable option or device, and waits for a key",
		Fix: fixDisk},
	Notice{Name: "uefi-shell", Role: Stop,
		Lines: []string{"BdsDxe: loading Boot… \"EFI Internal Shell\"", "BdsDxe: starting Boot… \"EFI Internal Shell\"", "^UEFI Interactive Shell v", "Shell>$"},
		Title: "firmware found nothing to boot: UEFI waits in its shell", Means: "UEFI found nothing that it could boot, and waits at the prompt of its own shell",
		Fix: fixDisk + "; startup.nsh can start a kernel by itself"},
)

// bios is SeaBIOS, coreboot and other firmware without UEFI.
var bios = firmware(
	Notice{Name: "no-boot-disk", Role: Stop,
		Lines: []string{
			"^No bootable device", "^FATAL: No bootable medium found! System halted", // SeaBIOS src/boot.c, Bochs
			"^Missing operating system", "^Error loading operating system", "^Invalid partition table", // boot sectors
			"^Operating system load error", "^BOOTMGR is missing", "^Operating System not found", "Reboot and Select proper Boot device",
		},
		Title: "firmware found nothing to boot", Means: "the firmware found no disk with a boot loader that it could start",
		Fix: fixDisk},
	Notice{Name: "boot-failed", Role: Consequence,
		Lines: []string{"^Boot failed: {}$"}, // SeaBIOS src/boot.c
		Title: "firmware found nothing to boot", Means: "the firmware tried its boot devices and none booted: {}",
		Fix: fixDisk},
	Notice{Name: "coreboot", Role: Stop,
		Lines: []string{"^Payload not loaded", "^Ramstage was not loaded!", "^CBFS: '{}' not found"}, // coreboot src/lib/prog_loaders.c
		Title: "coreboot found no payload", Means: "coreboot found nothing to start in its image: {}",
		Fix: "build the image with its payload (SeaBIOS, TianoCore, LinuxBoot) and check that it fits into the flash"},
	Notice{Name: "trusted-firmware", Role: Stop,
		Lines: []string{"^PANIC in EL3", "^Unhandled Exception in EL3", "^PANIC at PC : {}", "^ERROR:   BL2: Failed to load image {}", "^ERROR:   BL1: Failed to load image {}", "Panic '{}' at core/"}, // TF-A, OP-TEE
		Title: "trusted firmware panicked", Means: "the trusted firmware stopped before it started the boot loader: {}",
		Fix: "read its last lines; check that its images (BL2, BL31, BL32, BL33) are built for this machine"},
	Notice{Name: "start", Role: Go, Lines: []string{
		"^SeaBIOS (version", "^coreboot-", "^UEFI firmware (version", "BdsDxe: starting Boot", "BdsDxe: loading Boot", "^U-Boot 20", "^U-Boot SPL", "^U-Boot TPL",
		"^NOTICE:  BL1: ", "^NOTICE:  Booting Trusted Firmware",
	}},
)
