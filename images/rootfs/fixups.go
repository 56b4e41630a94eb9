package rootfs

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The packages are unpacked without running their maintainer scripts, which
// take over ten minutes under emulation. What those would have done, as far as
// a test guest needs it, is done here.

// account is a system account that a maintainer script or systemd-sysusers
// would add to base-passwd's.
type account struct {
	name string
	id   int
	user bool // a user too, not only a group
}

func accounts() []account {
	return []account{
		{"systemd-journal", 999, false},
		{"systemd-network", 998, true},
		{"input", 995, false},
		{"sgx", 994, false},
		{"kvm", 993, false},
		{"render", 992, false},
		{"messagebus", 991, true},
	}
}

// masked are the units that a guest does not need to reach multi-user.target.
// Each costs a process or a mount, and under TCG a process costs 0.1 s and more.
// What the initramfs has done is not done again, and nothing is rebuilt as after an update:
// devices are known to udev, drivers are loaded, and the root is writable.
func masked() []string {
	return []string{
		"apt-daily-upgrade.timer", "apt-daily.timer", "console-getty.service", "cryptsetup.target",
		"dev-hugepages.mount", "dev-mqueue.mount", "dpkg-db-backup.timer", "dracut-shutdown.service",
		"e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty.target", "integritysetup.target",
		"kmod-static-nodes.service", "ldconfig.service", "proc-sys-fs-binfmt_misc.automount",
		"sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
		"sys-kernel-tracing.mount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
		"systemd-binfmt.service", "systemd-firstboot.service", "systemd-hwdb-update.service", "systemd-initctl.socket",
		"systemd-journal-catalog-update.service", "systemd-journal-flush.service", "systemd-logind.service",
		"systemd-machine-id-commit.service", "systemd-modules-load.service", "systemd-networkd.service",
		"systemd-pcrphase-initrd.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service",
		"systemd-pstore.service", "systemd-remount-fs.service", "systemd-repart.service", "systemd-resolved.service",
		"systemd-sysusers.service", "systemd-timesyncd.service", "systemd-tmpfiles-clean.timer",
		"systemd-tmpfiles-setup-dev-early.service", "systemd-tmpfiles-setup-dev.service",
		"systemd-udev-load-credentials.service", "systemd-udev-trigger.service", "systemd-update-done.service",
		"systemd-update-utmp-runlevel.service", "systemd-update-utmp.service", "systemd-user-sessions.service",
		"veritysetup.target",
	}
}

// maskedGenerators are run by systemd before it does anything else, one
// process each (systemd.generator(7)). The fstab generator stays.
func maskedGenerators() []string {
	return []string{
		"systemd-cryptsetup-generator", "systemd-debug-generator", "systemd-getty-generator",
		"systemd-gpt-auto-generator", "systemd-hibernate-resume-generator", "systemd-integritysetup-generator",
		"systemd-rc-local-generator", "systemd-run-generator", "systemd-ssh-generator", "systemd-system-update-generator",
		"systemd-sysv-generator", "systemd-tpm2-generator", "systemd-veritysetup-generator",
	}
}

// files are written as they stand, all with mode 0644.
func files() map[string]string {
	return map[string]string{
		"etc/fstab":    "",
		"etc/hostname": "unwedge\n",
		"etc/hosts":    "127.0.0.1\tlocalhost unwedge\n::1\tlocalhost\n",
		// Fixed, so that systemd does not take the boot for a first one.
		"etc/machine-id":                           "756e776564676500756e776564676500\n",
		"etc/nsswitch.conf":                        "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
		"etc/resolv.conf":                          "",
		"etc/systemd/journald.conf.d/unwedge.conf": "[Journal]\nStorage=volatile\n",
	}
}

// links are name → target, below the tree.
func links() map[string]string {
	l := map[string]string{
		"usr/bin/awk":                       "mawk", // update-alternatives
		"etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target",
	}
	for _, unit := range masked() {
		l["etc/systemd/system/"+unit] = "/dev/null"
	}
	for _, generator := range maskedGenerators() {
		l["etc/systemd/system-generators/"+generator] = "/dev/null"
	}
	return l
}

// fixupsID changes with everything that fixTree writes.
func fixupsID() string {
	h := sha256.New()
	for _, m := range []map[string]string{files(), links()} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(h, "%q %q\n", name, m[name])
		}
	}
	fmt.Fprint(h, accounts())
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// fixTree turns a tree of unpacked packages into a root that boots.
func fixTree(tree string) error {
	if err := writeAccounts(tree); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files())) {
		if err := replace(tree, name, []byte(files()[name]), 0o644); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(links())) {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("set up root: %w", err)
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("set up root: %w", err)
		}
		if err := os.Symlink(links()[name], path); err != nil {
			return fmt.Errorf("set up root: %w", err)
		}
	}
	for _, dir := range []string{"var/lib/apt", "var/cache/apt"} {
		if err := os.RemoveAll(filepath.Join(tree, dir)); err != nil {
			return fmt.Errorf("set up root: %w", err)
		}
	}
	return nil
}

// writeAccounts makes passwd, group and shadow from base-passwd's masters and
// accounts(). No account has a password; root's is empty.
func writeAccounts(tree string) error {
	master := func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(tree, "usr/share/base-passwd", name))
		if err != nil {
			return "", fmt.Errorf("set up root: %w", err)
		}
		return string(b), nil
	}
	passwd, err := master("passwd.master")
	if err != nil {
		return err
	}
	group, err := master("group.master")
	if err != nil {
		return err
	}
	passwd, group, shadow := accountFiles(passwd, group, accounts())
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{{"etc/passwd", passwd, 0o644}, {"etc/group", group, 0o644}, {"etc/shadow", shadow, 0o600}} {
		if err := replace(tree, f.name, []byte(f.text), f.mode); err != nil {
			return err
		}
	}
	return nil
}

func accountFiles(passwdMaster, groupMaster string, add []account) (passwd, group, shadow string) {
	var p, g, s strings.Builder
	user := func(line string) {
		f := strings.Split(line, ":")
		if len(f) < 7 || f[0] == "" {
			return
		}
		password := "*"
		if f[0] == "root" {
			password = ""
		}
		f[1] = "x"
		fmt.Fprintln(&p, strings.Join(f, ":"))
		fmt.Fprintf(&s, "%s:%s:19000:0:99999:7:::\n", f[0], password)
	}
	for line := range strings.Lines(passwdMaster) {
		user(strings.TrimSpace(line))
	}
	for line := range strings.Lines(groupMaster) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 4 {
			f[1] = "x"
			fmt.Fprintln(&g, strings.Join(f, ":"))
		}
	}
	for _, a := range add {
		if a.user {
			user(fmt.Sprintf("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin", a.name, a.id, a.id))
		}
		fmt.Fprintf(&g, "%s:x:%d:\n", a.name, a.id)
	}
	return p.String(), g.String(), s.String()
}

// replace writes a file anew, so that a link of that name is not followed.
func replace(tree, name string, data []byte, mode os.FileMode) error {
	path := filepath.Join(tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("set up root: %w", err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("set up root: %w", err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		return fmt.Errorf("set up root: %w", err)
	}
	return nil
}
