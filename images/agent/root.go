package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Where the parts of the root file system are mounted until it is entered.
const (
	lowerDir = "/run/unwedge-lower" // the host's directory
	upperDir = "/run/unwedge-upper" // what the guest writes
	rootDir  = "/run/unwedge-root"  // both
)

// enter makes the host's directory the root file system, read-only below an overlay in
// the guest's memory. It runs init= of the command line there, if it is given, and
// returns otherwise: the agent stays PID 1. What fails is reported, and PID 1 waits.
func enter() {
	if err := mountRoot(); err != nil {
		fail(err)
		reap()
	}
	if err := switchRoot(); err != nil {
		fail(err)
		reap()
	}
	if init := lastArg(word("/proc/cmdline"), "init="); init != "" {
		env := []string{"HOME=/", "TERM=linux", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		fail(fmt.Errorf("run %s: %w", init, unix.Exec(init, []string{init}, env)))
		reap()
	}
	if err := runShell(); err != nil {
		fail(err)
		reap()
	}
}

func mountRoot() error {
	for _, dir := range []string{lowerDir, upperDir, rootDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("mount the root directory: %w", err)
		}
	}
	// Nobody writes the directory through the guest, so its pages may be kept.
	const options = "trans=virtio,version=9p2000.L,access=any,cache=loose,msize=262144"
	if err := unix.Mount(agentproto.RootTag, lowerDir, "9p", unix.MS_RDONLY, options); err != nil {
		return fmt.Errorf("mount the root directory by 9p: %w", err)
	}
	if err := unix.Mount("tmpfs", upperDir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs over the root directory: %w", err)
	}
	for _, dir := range []string{upperDir + "/data", upperDir + "/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make the overlay of the root directory: %w", err)
		}
	}
	parts := fmt.Sprintf("lowerdir=%s,upperdir=%s/data,workdir=%s/work", lowerDir, upperDir, upperDir)
	if err := unix.Mount("overlay", rootDir, "overlay", 0, parts); err != nil {
		return fmt.Errorf("mount the overlay of the root directory: %w", err)
	}
	return nil
}

// switchRoot makes rootDir the root of everything, as switch_root(8) does.
func switchRoot() error {
	tell(stage.SwitchRoot)
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		to := rootDir + dir
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("enter the root directory: %w", err)
		}
		if err := unix.Mount(dir, to, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("enter the root directory: move %s: %w", dir, err)
		}
	}
	for dir, mode := range map[string]string{"/run": "mode=0755", "/tmp": "mode=1777"} {
		to := rootDir + dir
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("enter the root directory: %w", err)
		}
		if err := unix.Mount("tmpfs", to, "tmpfs", 0, mode); err != nil {
			return fmt.Errorf("enter the root directory: mount %s: %w", dir, err)
		}
	}
	if err := os.Chdir(rootDir); err != nil {
		return fmt.Errorf("enter the root directory: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("enter the root directory: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("enter the root directory: %w", err)
	}
	return os.Chdir("/")
}

// runShell shows that programs of the root file system run.
func runShell() error {
	out, err := exec.Command("/bin/sh", "-c", "exit 0").CombinedOutput() //nolint:noctx // its hang is what is looked for
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("run /bin/sh in the root directory: %w: %.200s", err, out)
	}
	return nil
}

// lastArg is the value of the last of the words with a prefix.
func lastArg(cmdline, prefix string) string {
	value := ""
	for _, w := range strings.Fields(cmdline) {
		if v, ok := strings.CutPrefix(w, prefix); ok {
			value = v
		}
	}
	return value
}

// runFirst is PID 1 of somebody else's initramfs before its own /init: it reports that
// init runs, leaves everything as it was, and becomes that init.
func runFirst() {
	mounted := mountFirst()
	tell(stage.Init)
	for i := len(mounted) - 1; i >= 0; i-- {
		_ = unix.Unmount(mounted[i], unix.MNT_DETACH)
	}
	err := unix.Exec("/init", append([]string{"/init"}, os.Args[1:]...), os.Environ())
	fmt.Println("unwedge agent: run /init:", err)
	os.Exit(1) // the kernel panics, as it would have without the agent
}

// mountFirst mounts what a report is made of, and returns what it has mounted.
func mountFirst() (dirs []string) {
	for _, m := range []struct{ kind, dir string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		_ = os.MkdirAll(m.dir, 0o755)
		if unix.Mount(m.kind, m.dir, m.kind, 0, "") == nil {
			dirs = append(dirs, m.dir)
		}
	}
	return dirs
}
