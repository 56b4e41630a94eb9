package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// modulesList names the modules to load, in order, one path a line; the tiny
// initramfs holds it.
const modulesList = "/etc/unwedge/modules"

// runInit is PID 1 of the tiny initramfs: mount what a user space needs, load
// the modules, report, do the faults that the command line asks for, report
// again. It never returns: the kernel panics when PID 1 exits.
func runInit() {
	mountAll()
	loadModules(modulesList)
	tell(stage.Init)
	tryModules(agentproto.ModuleTrials)
	args := kernelArgs(word("/proc/cmdline"))
	if slices.Contains(strings.Fields(word("/proc/cmdline")), agentproto.RootArg) {
		enter()
	}
	for _, name := range args["unwedge.fault"] {
		runFault(name)
	}
	tell(stage.Userspace)
	for _, name := range args["unwedge.then"] {
		runFault(name)
	}
	if len(args["unwedge.shell"]) > 0 {
		shell()
	}
	if len(args["unwedge.poweroff"]) > 0 {
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	reap()
}

// fail reports what the agent cannot do.
func fail(err error) {
	r := gather(stage.Failed)
	r.Error = err.Error()
	_ = send(r)
}

// tell reports and, if even that fails, says so on the console.
func tell(s stage.Stage) {
	if err := report(s); err != nil {
		fmt.Println("unwedge agent:", err)
	}
}

func mountAll() {
	for _, m := range []struct{ kind, dir string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
	} {
		_ = os.MkdirAll(m.dir, 0o755)
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			fmt.Printf("unwedge agent: mount %s on %s: %v\n", m.kind, m.dir, err)
		}
	}
}

// loadModules loads the listed modules. A module that does not load is said,
// and the boot goes on: what depended on it will show.
func loadModules(list string) {
	f, err := os.Open(list)
	if err != nil {
		return // an image without modules has no list
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		path := strings.TrimSpace(sc.Text())
		if path == "" {
			continue
		}
		if err := loadModule(path); err != nil {
			fail(err)
		}
	}
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", path, err)
	}
	return nil
}

// kernelArgs splits the kernel command line; a key may be given several times
// and a value may be a comma-separated list.
func kernelArgs(cmdline string) map[string][]string {
	out := map[string][]string{}
	for _, w := range strings.Fields(cmdline) {
		k, v, _ := strings.Cut(w, "=")
		if strings.HasPrefix(k, "unwedge.") {
			out[k] = append(out[k], strings.Split(v, ",")...)
		}
	}
	return out
}

// shell gives the console to busybox for a person who wants to look around.
func shell() {
	attr := &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Env:   []string{"PATH=/bin", "HOME=/", "TERM=vt100"},
	}
	program := "/bin/busybox"
	if _, err := os.Stat(program); err != nil {
		program = "/bin/sh" // of the root file system
	}
	p, err := os.StartProcess(program, []string{"sh"}, attr)
	if err != nil {
		fmt.Println("unwedge agent: start a shell:", err)
		return
	}
	_, _ = p.Wait()
}

// reap waits for children for ever, as PID 1 must.
func reap() {
	for {
		_, err := unix.Wait4(-1, nil, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			_ = unix.Pause()
		}
	}
}
