package notice

import "github.com/unwedge/unwedge/harness/result"

// fixGrub is what most of GRUB's errors need.
const fixGrub = "at the prompt, ls shows what GRUB sees; set root and prefix by hand to boot once, then reinstall GRUB (grub-install, update-grub)"

// grub is GRUB 2. "error: " may be followed by a source file and line (2.12).
var grub = firmware(
	Notice{Name: "grub-passphrase", Role: Ask, Cause: result.CausePassphrase,
		Lines: []string{"^Enter passphrase for hd{}:", "^Enter passphrase for lvm{}:", "^Enter passphrase for md{}:"}, // disk/cryptodisk.c
		Title: "GRUB waits for a passphrase", Means: "GRUB waits for somebody to enter the passphrase of an encrypted disk",
		Fix: "type it on the console, or keep /boot on a file system that is not encrypted"},
	Notice{Name: "grub-no-device", Role: Why,
		Lines: []string{"error: no such device: {}.", "error: …: no such device: {}.", "error: …:no such device: {}.", "error: disk `{}' not found", "error: …:disk `{}' not found", "error: no such partition", "error: …:no such partition", "error: no such device$"}, // kern/disk.c, commands/search.c
		Title: "GRUB: no such device", Means: "GRUB does not find the disk or partition {} that it is to boot from",
		Fix: fixGrub + "; check that the machine has the disk, and that its UUID is still the one that GRUB was installed with"},
	Notice{Name: "grub-no-symbol", Role: Why,
		Lines: []string{"error: symbol `{}' not found", "error: …:symbol `{}' not found"}, // kern/dl.c
		Title: "GRUB: its modules do not fit its core", Means: "GRUB's core image and its modules are of different versions: symbol {} is missing",
		Fix: "reinstall GRUB to the disk that the firmware boots (grub-install): the boot sector is older or newer than /boot/grub"},
	Notice{Name: "grub-file", Role: Why,
		Lines: []string{
			"error: file `{}' not found", "error: …:file `{}' not found", // fs/fshelp.c
			"error: premature end of file {}.", "error: …:premature end of file {}.", "error: attempt to read or write outside of …`{}'",
			"error: invalid magic number", "error: …:invalid magic number", "error: invalid arch-", "error: …:invalid arch-", "error: invalid file name `{}'",
		},
		Title: "GRUB cannot load a file", Means: "GRUB cannot load a file that it needs ({}): the file is missing, cut off, or not what it should be",
		Fix: "check that the kernel, the initrd and GRUB's modules that grub.cfg names are on the boot file system, and whole; write grub.cfg again"},
	Notice{Name: "grub-memory", Role: Why,
		Lines: []string{"^error: out of memory", "error: …:out of memory"},
		Title: "GRUB: out of memory", Means: "GRUB had not enough memory for the kernel or the initrd",
		Fix: "give the machine more memory, or use a smaller initrd (MODULES=dep, a better compression)"},
	Notice{Name: "grub-net", Role: Why,
		Lines: []string{"error: no server is specified", "error: time out opening `{}'", "error: timeout reading `{}'", "error: couldn't send network packet", "error: couldn't autoconfigure {}."}, // net/net.c
		Title: "GRUB: the network boot failed", Means: "GRUB could not load {} over the network",
		Fix: fixNet},
	Notice{Name: "grub-file-system", Role: Why,
		Lines: []string{"error: unknown filesystem", "error: …:unknown filesystem"}, // kern/fs.c
		Title: "GRUB: unknown file system", Means: "GRUB does not know the file system that it is to boot from, or finds none there",
		Fix: fixGrub + "; a file system made by newer tools may have features that this GRUB does not know"},
	Notice{Name: "grub-no-kernel", Role: Why,
		Lines: []string{"error: you need to load the kernel first", "error: …:you need to load the kernel first", "^Failed to boot both default and fallback entries"},
		Title: "GRUB loaded no kernel", Means: "GRUB could not load the kernel of its menu entry",
		Fix: "read GRUB's errors before this one: they name the file or device"},
	Notice{Name: "grub-rescue", Role: Stop,
		Lines: []string{"^grub rescue>", "^Entering rescue mode..."},
		Title: "GRUB waits at its rescue prompt", Means: "GRUB did not find its own files, and waits at its rescue prompt",
		Fix: fixGrub},
	Notice{Name: "grub-prompt", Role: Stop,
		Lines: []string{"^grub>", "^Minimal BASH-like line editing is supported"},
		Title: "GRUB waits at its prompt", Means: "GRUB found no configuration that boots, and waits at its prompt",
		Fix: "check that grub.cfg is where GRUB looks for it (the variable prefix), or boot by hand: linux, initrd, boot"},
	Notice{Name: "grub-key", Role: Stop,
		Lines: []string{"^Press any key to continue..."},
		Title: "GRUB waits for a key", Means: "GRUB reported errors, and waits for a key before it goes on",
		Fix: "read GRUB's errors"},
	Notice{Name: "grub-menu", Role: Stop,
		Lines: []string{"Press enter to boot the selected OS, `e' to edit"},
		Title: "GRUB waits in its menu", Means: "GRUB shows its menu and nobody chooses: it has no timeout, or a key stopped it",
		Fix: "set GRUB_TIMEOUT (and GRUB_RECORDFAIL_TIMEOUT), and see that nothing is typed on the console while GRUB runs"},
	Notice{Name: "grub", Role: Go, Lines: []string{
		"^GRUB loading", "^Welcome to GRUB!", "^Loading Linux ", "^Loading initial ramdisk", "^Booting `", "^Booting a command list",
		"The highlighted entry will be executed automatically in ",
	}},
)

// uboot is U-Boot.
var uboot = firmware(
	Notice{Name: "uboot-abort", Role: Stop,
		Lines: []string{"^\"{}\" handler, esr 0x", "^Bad mode in \"{}\" handler", "^data abort$", "^prefetch abort$", "^undefined instruction$", "^### ERROR ### Please RESET the board ###"}, // arch/arm/lib/interrupts_64.c, lib/hang.c
		Title: "U-Boot crashed", Means: "U-Boot, or a program that it had started, crashed before the kernel spoke: {}", After: true,
		Fix: "compare elr with U-Boot's symbols; check that the load addresses of kernel, initrd and device tree do not overlap each other or U-Boot"},
	Notice{Name: "uboot-image", Role: Why,
		Lines: []string{
			"^Bad Linux ARM64 Image magic!", "^Bad Linux ARM Image magic!", "^Bad Linux RISCV Image magic!", // boot/image.c, cmd/booti.c
			"^Wrong Image Format for {} command", "^Wrong Image Type for {} command", "^ERROR: can't get kernel image!", "^Unsupported Architecture", "^Bad FIT {} image format!",
			"^Verifying Checksum ... Bad", "^ERROR: new format image overwritten - must RESET", "^Bad Magic Number", "Verifying Hash Integrity ... …error!",
		},
		Title: "U-Boot: not a kernel image", Means: "what U-Boot loaded is not a kernel image that it can start",
		Fix: "check that the file is whole and an image for this command and machine: booti takes arm64's Image, bootz zImage, bootm uImage or FIT"},
	Notice{Name: "uboot-fdt", Role: Why,
		Lines: []string{"^ERROR: Did not find a cmdline Flattened Device Tree", "^Could not find a valid device tree", "^FDT and ATAGS support not compiled in", "^ERROR: image is not a fdt", "^device tree - allocation error"},
		Title: "U-Boot: no device tree for the kernel", Means: "U-Boot has no valid device tree to hand to the kernel",
		Fix: "load the machine's .dtb to fdt_addr_r, or use the one that QEMU hands over (fdtcontroladdr)"},
	Notice{Name: "uboot-ramdisk", Role: Why,
		Lines: []string{"^Wrong Ramdisk Image Format", "^Ramdisk image is corrupt or invalid", "^ramdisk - allocation error"},
		Title: "U-Boot: not an initrd", Means: "what U-Boot loaded is no initrd that it can hand to the kernel",
		Fix: "give booti the initrd's size (ADDRESS:SIZE), or wrap it with mkimage"},
	Notice{Name: "uboot-net", Role: Retry,
		Lines: []string{"^Retry count exceeded; starting again", "^Retry time exceeded; starting again", "^ARP Retry count exceeded; starting again", "^BOOTP broadcast "},
		Title: "U-Boot: the network boot does not answer", Means: "U-Boot asks the network for a boot image and gets no answer",
		Fix: fixNet},
	Notice{Name: "uboot-nothing", Role: Consequence,
		Lines: []string{"^** File not found {} **", "^Failed to load '{}'", "^TFTP error: '{}'", "^No ethernet found", "^*** ERROR: `serverip' not set", "^## Error: \"{}\" not defined", "^** Bad device specification {} **", "^SCRIPT FAILED: continuing", "^No working controllers found", "^MMC: no card present", "^Card did not respond to voltage select!"},
		Title: "U-Boot found nothing to boot", Means: "U-Boot tried its boot devices and found no kernel (the last that it missed: {})",
		Fix: "check boot_targets and bootcmd, and that the disk has extlinux.conf, boot.scr or an EFI program"},
	Notice{Name: "uboot-spl", Role: Stop,
		Lines: []string{"^SPL: failed to boot from all boot devices", "^SPL: Unsupported Boot Device"},
		Title: "U-Boot SPL found no U-Boot", Means: "U-Boot's first stage found no U-Boot on any boot device",
		Fix: "write u-boot.itb or u-boot.img to the place that SPL reads"},
	Notice{Name: "uboot-prompt", Role: Stop,
		Lines: []string{"^=>$", "^U-Boot>$"},
		Title: "U-Boot waits at its prompt", Means: "U-Boot found nothing that it could boot, or a key stopped it, and it waits at its prompt",
		Fix: "see its lines before the prompt; run boot by hand, and check bootcmd and that nothing is typed on the console during bootdelay"},
	Notice{Name: "uboot", Role: Go, Lines: []string{"^Starting kernel ...", "^## Starting EFI application", "^Booting /efi", "^Booting /EFI", "^## Executing script"}},
)

// netboot is iPXE and PXE.
var netboot = firmware(
	Notice{Name: "ipxe-error", Role: Why,
		Lines: []string{"{}... Connection timed out (http", "Could not boot: {} (http", "Could not boot image: {} (http", "Could not start download: {} (http", "{}... No such file or directory (http", "{}... Permission denied (http", "No configuration methods succeeded", "Nothing to boot: {} (http"},
		Title: "iPXE could not boot from the network", Means: "iPXE got no boot image from the network: {}",
		Fix: fixNet},
	Notice{Name: "pxe-error", Role: Why,
		Lines: []string{"PXE-E{}$", "^PXE-T01: ", "Error: Could not retrieve NBP file size from ", "^Error: Server response timeout"}, // the PXE specification's codes; EDK2 NetworkPkg/UefiPxeBcDxe
		Title: "the network boot failed", Means: "the firmware got no boot image from the network (PXE-E{})",
		Fix: fixNet},
	Notice{Name: "pxe-exit", Role: Stop,
		Lines: []string{"^PXE-M0F: Exiting"},
		Title: "the network boot failed", Means: "the network card's boot program gave up",
		Fix: fixNet},
	Notice{Name: "ipxe-stop", Role: Stop,
		Lines: []string{"No more network devices", "iPXE>$", "gPXE>$"},
		Title: "iPXE found nothing to boot", Means: "iPXE tried all network devices and none had something to boot",
		Fix: fixNet},
	Notice{Name: "ipxe-start", Role: Go, Lines: []string{"^iPXE initialising devices"}},
)

// loaders are SYSLINUX and its kin.
var loaders = firmware(
	Notice{Name: "syslinux", Role: Why,
		Lines: []string{
			"^Could not find kernel image: {}$", "^Failed to load ldlinux.c32", "^Failed to load libcom32.c32", "^Failed to load COM32 file {}$", // SYSLINUX core
			"^No DEFAULT or UI configuration directive found!", "^WARNING: No configuration file found", "^Invalid or corrupt kernel image",
			"^Booting kernel failed: {}$", "^Not enough memory to load specified kernel", "^ERROR: No configuration file found",
		},
		Title: "SYSLINUX found no kernel that it could start", Means: "SYSLINUX (EXTLINUX, ISOLINUX, PXELINUX) could not start a kernel: {}",
		Fix: "check the configuration (extlinux.conf, isolinux.cfg) and the kernel and initrd that it names; its modules must be of its own version"},
	Notice{Name: "lilo", Role: Why,
		Lines: []string{"^No such image. [Tab] shows a list", "^EBDA is big; kernel setup stack overlaps LILO second stage", "^L 99 99", "^LIL-", "^LIL?"},
		Title: "LILO could not start a kernel", Means: "LILO could not load itself or the kernel",
		Fix: "run lilo again after every change of the kernel or the disk"},
	Notice{Name: "syslinux-prompt", Role: Stop,
		Lines: []string{"^boot:$"},
		Title: "the boot loader waits at its prompt", Means: "the boot loader (SYSLINUX or LILO) waits at its prompt for the name of a kernel",
		Fix: "give the configuration a DEFAULT and a TIMEOUT"},
	Notice{Name: "direct", Role: Go, Lines: []string{"^Booting from ROM...", "^EFI stub: ", "^Decompressing Linux", "^early console in ", "^Uncompressing Linux"}},
)
