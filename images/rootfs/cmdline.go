package rootfs

// Cmdline returns the kernel arguments that a boot with the flavour's
// initramfs and the ext4 root needs (dracut.cmdline(7), systemd(1)). The disks
// are found by label, so their order does not matter.
func Cmdline(f Flavour) []string {
	args := []string{
		"root=LABEL=" + Ext4Label, "rootfstype=ext4", "rw",
		// A failed initramfs must say so and stop, not wait at a prompt.
		"rd.shell=0",
		// The host's wall clock and the disk's are not the guest's concern.
		"fsck.mode=skip",
	}
	if f.FIPS {
		args = append(args, "fips=1", "boot=LABEL="+BootLabel)
	}
	return args
}
