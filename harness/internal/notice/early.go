package notice

import "github.com/unwedge/unwedge/harness/result"

// early fills in what rows have in common.
func early(where result.Where, cause result.Cause, rows ...Notice) []Notice {
	for i := range rows {
		if rows[i].Role == Go {
			continue
		}
		if rows[i].Cause == "" {
			rows[i].Cause = cause
		}
		if rows[i].Where == "" {
			rows[i].Where = where
		}
	}
	return rows
}

// fileSystems are fsck's refusals: somebody has to decide what to repair.
var fileSystems = early("", result.CauseFsck,
	Notice{Name: "fsck", Role: Why,
		Lines: []string{
			"{}: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY",           // e2fsck
			"The … filesystem on {} requires a manual fsck",             // initramfs-tools, scripts/functions
			"^{} has unrepaired errors, please fix them manually",       // NixOS, stage-1-init.sh
			"ERROR: fsck failed on '{}'", "* FILESYSTEM CHECK FAILED *", // mkinitcpio
			"^fsck on {} failed.",
			"An error occurred during the file system check", // sysvinit, checkfs
		},
		Title: "fsck wants a person", Means: "the file system check of {} found damage that it does not repair by itself, so the boot waits for a person",
		Fix: "run fsck on the file system by hand (fsck -f DEVICE), from the emergency shell or on the host with the guest off; fsck.repair=yes repairs it without asking"},
	Notice{Name: "fsck-status", Role: Consequence,
		Lines: []string{"fsck failed with exit status {}.", "fsck failed with error code {}.", "fsck exited with status code {}$", "Failed to start File System Check on {}$"},
		Title: "a file system check failed", Means: "a file system check failed ({}), and the boot waits for a person",
		Fix: "run fsck on the file system by hand (fsck -f DEVICE); fsck's own lines say what it found"},
)

// passphrases are questions for a secret.
var passphrases = early(result.WhereInitramfs, result.CausePassphrase,
	Notice{Name: "passphrase", Role: Ask,
		Lines: []string{
			"Please enter passphrase for disk {}:", "Please enter passphrase for disk {}!", // systemd-cryptsetup
			"lease enter security token PIN", "lease enter LUKS2 token PIN", "lease enter TPM2 PIN",
			"Please unlock disk {}$", "Please unlock disk {}:", // cryptsetup-initramfs
			"A password is required to access the {} volume",             // mkinitcpio, the encrypt hook
			"^Enter passphrase for {}:", "Enter passphrase for /dev/{}:", // cryptsetup
			"^Passphrase for {}:",                                         // NixOS, luksroot.nix
			"Encrypted ZFS password for {}", "^Enter passphrase for '{}'", // OpenZFS
			"^Password (/dev/{})", // dracut without systemd
			"ask-for-password",    // plymouth
		},
		Title: "the boot waits for a passphrase", Means: "the boot waits for somebody to enter the passphrase of {}",
		Fix: "type it on the console, or let the guest unlock the disk by itself: a key file (rd.luks.key=, crypttab), a TPM (systemd-cryptenroll), clevis"},
	Notice{Name: "passphrase", Role: Go, Lines: []string{
		"Finished Cryptography Setup for ", "Started Cryptography Setup for ", "Finished systemd-cryptsetup@", "Finished \x1b[0;1;39mCryptography Setup",
		": set up successfully", "Reached target Local Encrypted Volumes", "Reached target cryptsetup.target",
	}},
	Notice{Name: "passphrase-wrong", Role: Why,
		Lines: []string{"ERROR: {}: maximum number of tries exceeded", "Too many attempts to activate; giving up", "ERROR: {}: cryptsetup failed, bad password or options?"},
		Title: "no passphrase fitted", Means: "the disk {} was not unlocked: no passphrase or key fitted",
		Fix: "check the key file or the passphrase that the harness types, and crypttab"},
)

// pools are OpenZFS's and LVM's.
var pools = early(result.WhereInitramfs, result.CauseRootMount,
	Notice{Name: "zfs-no-pool", Role: Why, Cause: result.CauseRootDevice,
		Lines: []string{"cannot import '{}': no such pool available", "^No pool imported. Manually import the root pool"},
		Title: "ZFS: the root pool is not there", Means: "ZFS found no pool {} to import: its disks are not there, or not yet",
		Fix: "check that the machine has the pool's disks and that their driver is in the initramfs; where the disks come late set ZFS_INITRD_PRE_MOUNTROOT_SLEEP or rootdelay="},
	Notice{Name: "zfs-import", Role: Why,
		Lines: []string{"cannot import '{}': ", "^Failed to import pool '{}'", "importing root ZFS pool \"{}\""},
		Title: "ZFS: the root pool cannot be imported", Means: "ZFS could not import the root pool {}",
		Fix: "read the line 'cannot import': a pool that another system used last wants zpool import -f once (or zfs_force=1), a pool with missing disks wants the disks"},
	Notice{Name: "zfs-mount", Role: Why,
		Lines: []string{"^Manually mount the filesystem and exit", "^Manually mount the root filesystem"},
		Title: "ZFS: the root file system cannot be mounted", Means: "ZFS imported the pool but could not mount the root file system",
		Fix: "check root=ZFS= and the dataset's mountpoint and canmount properties"},
	Notice{Name: "lvm-no-group", Role: Consequence, Cause: result.CauseRootDevice,
		Lines: []string{"Volume group \"{}\" not found", "Cannot process volume group {}$"}, // LVM2
		Title: "LVM: the volume group is not there", Means: "LVM does not find the volume group {}",
		Fix: "check that the machine has the group's disks, that their driver is in the initramfs, and that the group was not renamed"},
)

// netRoot is the kernel's and the initramfs's way to a root file system on the
// network.
var netRoot = early(result.WhereUnknown, result.CauseRootMount,
	Notice{Name: "nfs-silent", Role: Retry,
		Lines: []string{"nfs: server {} not responding", "Begin: Retrying nfs mount"}, // fs/nfs, net/sunrpc; initramfs-tools, scripts/nfs
		Title: "the NFS server of the root file system does not answer", Means: "the NFS server {} does not answer, so the root file system cannot be mounted",
		Fix: "check that the server is up and exports the path of nfsroot= to this guest, with the version and transport of its options (v3, tcp), and that no firewall is between"},
	Notice{Name: "nfs-silent", Role: Go, Lines: []string{"nfs: server {} OK", "VFS: Mounted root (nfs filesystem)"}},
	Notice{Name: "no-network", Role: Why,
		Lines: []string{"IP-Config: No network devices available", "no devices to configure", "Network device did not appear in time", "IP-Config: Failed to open {}$"}, // net/ipv4/ipconfig.c; klibc ipconfig; initramfs-tools
		Title: "no network device for the root file system", Means: "the root file system is on the network, and the kernel or the initramfs found no network device for it",
		Where: result.WhereInitramfs,
		Fix:   "give the machine a network device whose driver is built in or in the initramfs, and check the device's name in ip="},
	Notice{Name: "nfs-refused", Role: Why,
		Lines: []string{"Root-NFS: {}", "mount call failed - server replied: {}.", "VFS: Unable to mount root fs via NFS"}, // fs/nfs/nfsroot.c; klibc nfsmount; init/do_mounts.c
		Title: "the NFS root file system cannot be mounted", Means: "the root file system cannot be mounted from the NFS server ({})",
		Fix: "check nfsroot= (server, path, options) and the server's exports"},
	Notice{Name: "no-address", Role: Retry,
		Lines: []string{"IP-Config: Retrying forever (NFS root)", "IP-Config: Auto-configuration of network failed", "IP-Config: no response after {} secs - giving up", "Waiting up to {} more seconds for network"},
		Title: "no network for the root file system", Means: "the root file system is on the network, and the guest gets no link or no address (DHCP)",
		Fix: "check the guest's network device and its link, the DHCP server, and ip="},
	Notice{Name: "no-address", Role: Go, Lines: []string{"IP-Config: Complete", "IP-Config: Got "}},
)

// systemd is PID 1 and what it starts.
var systemd = early(result.WhereUserspace, result.CauseSystemdFreezes,
	Notice{Name: "systemd-freezes", Role: Stop,
		Lines: []string{
			"[!!!!!!] {}, freezing", "[!!!!!!] {}, exiting PID 1", "[!!!!!!] {}, rebooting", // src/core/main.c
		},
		Title: "systemd gave up: {}", Means: "systemd (PID 1) hit a fatal error and stopped the boot: {}",
		Fix: "read systemd's lines before it; boot with systemd.log_level=debug systemd.log_target=console for more"},
	Notice{Name: "systemd-gave-up", Role: Stop,
		Lines: []string{"^[!!!!!!] {}$"}, // src/shared/switch-root.c and others: the freeze has a line of its own
		Title: "systemd gave up: {}", Means: "systemd (PID 1) hit a fatal error and stopped the boot: {}",
		Fix: "read systemd's lines before it; boot with systemd.log_level=debug systemd.log_target=console for more"},
	Notice{Name: "systemd-no-target", Role: Stop,
		Lines: []string{"Failed to load rescue target", "Failed to load rescue.target"}, // src/core/main.c, do_queue_default_job
		Title: "systemd found no target to start", Means: "systemd (PID 1) found neither its default target nor the rescue target, and froze",
		Fix: "check that the root file system is whole and holds systemd's units (/usr/lib/systemd/system), and default.target or systemd.unit="},
	Notice{Name: "selinux", Role: Stop,
		Lines: []string{"Unable to load SELinux Policy. Machine is in enforcing mode", "Failed to load SELinux policy"}, // libselinux, systemd
		Title: "the SELinux policy could not be loaded", Means: "the SELinux policy could not be loaded while SELinux enforces",
		Fix: "boot with enforcing=0 or selinux=0, then install the policy again and relabel; check that the kernel supports the policy's version"},
	Notice{Name: "no-os", Role: Why, Cause: result.CauseNoInit,
		Lines: []string{
			"switch root path '{}' does not seem to be an OS tree", "Not switching root: {} does not seem to be an OS tree", // systemd
			"stage 2 init script ({}) not found",                                                       // NixOS
			"Target filesystem doesn't have requested {}.", "No init found. Try passing init= bootarg", // initramfs-tools
			"{} not found in new root. Launching emergency",                                              // mkinitfs
			"Root device mounted successfully, but {} does not exist",                                    // mkinitcpio
			"switch_root: can't execute '{}'", "switch_root: failed to execute {}:", "Cannot find init!", // busybox, util-linux, dracut
		},
		Title: "the root file system has no init", Means: "the root file system was mounted but has no init to run ({} is missing)",
		Fix: "check that root= (and rootflags=subvol=, ostree=) names the right file system, that it holds an operating system, and that init= is right"},
	Notice{Name: "first-boot", Role: Stop, Cause: result.CauseUserService,
		Lines: []string{"-- Press any key to proceed --"}, // systemd-firstboot
		Title: "systemd-firstboot waits for a person", Means: "systemd-firstboot asks for the settings of a new installation, and waits for a key",
		Fix: "boot with systemd.firstboot=off, or give the image /etc/machine-id, a locale, a time zone and a root password"},
	Notice{Name: "metadata", Role: Retry, Cause: result.CauseUserService,
		Lines: []string{"url_helper.py[WARNING]: Calling '{}' failed [", "ignition[…]: GET {}: attempt #", "afterburn[…]: …Failed to fetch: {}"}, // cloud-init, Ignition, afterburn
		Title: "the guest waits for its metadata server", Means: "the guest asks {} for its configuration again and again, and gets no answer",
		Fix: "give the guest a metadata server or a configuration disk (NoCloud, ignition.config.url=), or limit the data sources (datasource_list, ignition.platform.id)"},
	Notice{Name: "metadata", Role: Go, Lines: []string{"GET result: OK", "Cloud-init v. … finished at", "Cloud-init v. … running 'modules"}},
)

// android is Android's first stage of init (system/core/init).
var android = early(result.WhereInitramfs, result.CauseRootMount,
	Notice{Name: "android-mount", Role: Why,
		Lines: []string{"init: Failed to mount required partitions early", "init: [libfs_mgr]{} failed for /system", "init: [libfs_mgr]AvbHandle…{} failed"},
		Title: "Android's init cannot mount its partitions", Means: "Android's first stage of init could not mount the partitions that it needs ({})",
		Fix: "read libfs_mgr's lines before it: the fstab of the device tree or the ramdisk, the super partition and the keys of verified boot (AVB) must fit the images"},
	Notice{Name: "android-fatal", Role: Stop, Cause: result.CauseSystemdFreezes,
		Lines: []string{"init: InitFatalReboot: signal {}"},
		Title: "Android's init gave up", Means: "Android's init hit a fatal error and restarts the machine",
		Fix: "read init's lines before it; androidboot.init_fatal_panic=true makes the kernel panic there"},
)

// rootFS are the last words about the root file system. They follow a reason that
// other lines often give.
var rootFS = early(result.WhereInitramfs, result.CauseRootMount,
	Notice{Name: "live-medium", Role: Consequence, Cause: result.CauseRootDevice,
		Lines: []string{"Unable to find a medium containing a live file system", "Unable to find a live file system on the network", "Mounting boot media: failed", "Mounting boot media failed"}, // live-boot, casper, mkinitfs
		Title: "the live medium is not there", Means: "the initramfs did not find the medium with the live system",
		Fix: "check that the machine has the CD or disk, and that its driver is in the initramfs (sr_mod, usb-storage, virtio_blk, iso9660)"},
	Notice{Name: "root-mount", Role: Consequence,
		Lines: []string{
			"Failed to mount {} as root file system", "Failed to mount '{}' on real root", // initramfs-tools, mkinitcpio
			"mount: mounting {} on /root failed", "mount: mounting {} on /sysroot failed", "mount: mounting {} on /mnt-root… failed", // busybox
			"mount: /sysroot: …on {},", "mount: /new_root: …on {},", "mount: /root: …on {},", "mount: /new_root: no valid filesystem type", // util-linux
			"^Mounting root: failed", "^Mounting root failed", "Unable to determine the file system type of {}:",
			"Failed to mount /sysroot", "Failed to mount sysroot.mount", "Dependency failed for sysroot.mount", "Dependency failed for /sysroot",
			"Can't mount root filesystem", "Warning: Failed to mount -t …NEWROOT",
			"No root device specified. Boot arguments must include a root= parameter",
		},
		Title: "the root file system cannot be mounted", Means: "the initramfs could not mount the root file system {}",
		Fix: "read mount's error: check rootfstype= and rootflags=, that the file system's module is in the initramfs, and that root= names a file system that is whole"},
)
