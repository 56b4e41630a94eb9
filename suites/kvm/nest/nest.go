// Package nest makes a host with a working KVM where there is none: a guest of QEMU,
// whose TCG emulates the CPU's virtualization too. unwedge runs in there as on any
// other host, under a real KVM, only slower.
//
// The host is a Debian root in memory. It has no network; it reads the cache of images
// through 9p, and writes to a layer of its own above it.
package nest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/modules"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/internal/debroot"
)

//go:embed init.sh
var initScript []byte

// Options say how a host is made.
type Options struct {
	Arch arch.Arch
	// Store is the cache of images that the host reads.
	Store *cache.Store
	// Unwedge is the static program that runs in there.
	Unwedge string
	// Dir is an empty directory for all that the host leaves: console.log, and a
	// directory for each script that was run.
	Dir string
}

// Host is a running host. Run may be called from one goroutine at a time.
type Host struct {
	dir, share string
	cmd        *exec.Cmd
	conn       net.Conn
	answers    *bufio.Scanner
	runs       int
	ended      chan struct{}
	err        error // of QEMU, once ended is closed
}

// Start makes a host and waits until it takes scripts. It runs until Stop, or until
// this program ends.
func Start(ctx context.Context, o Options) (_ *Host, err error) {
	spec, err := hostFor(o.Arch)
	if err != nil {
		return nil, err
	}
	h := &Host{dir: o.Dir, share: filepath.Join(o.Dir, "share"), ended: make(chan struct{})}
	if err := os.Mkdir(h.share, 0o755); err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	if _, err := h.Put(o.Unwedge, "unwedge"); err != nil {
		return nil, err
	}
	c, err := candidate.Resolve(ctx, spec.kernel, candidate.Options{Arch: o.Arch, Cache: o.Store})
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(o.Dir, "root.cpio")
	if err := writeRoot(ctx, initrd, spec, c, o.Store); err != nil {
		return nil, err
	}
	port := filepath.Join(o.Dir, "port")
	l, err := new(net.ListenConfig).Listen(ctx, "unix", port)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	defer l.Close()
	if err := h.launch(spec, c.Kernel.Path, initrd, port, o.Store.Dir()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = h.Stop()
		}
	}()
	if err := h.connect(ctx, l); err != nil {
		return nil, fmt.Errorf("start host: %w: see %s", err, h.Console())
	}
	return h, os.Remove(initrd) // QEMU has read it
}

// writeRoot writes the initramfs that is the host's whole root.
func writeRoot(ctx context.Context, to string, spec host, c *candidate.Candidate, store *cache.Store) error {
	root, err := debroot.Get(ctx, store, debroot.Spec{Release: "bookworm", Arch: spec.arch, Packages: []string{
		"bash", "coreutils", "dash", "debian-archive-keyring", "e2fsprogs", "findutils", "iproute2", "kmod", "libc-bin", "mount", "procps", "util-linux",
		spec.arch.Facts().QEMUPackages.APT, spec.arch.Facts().UEFIPackages.APT,
	}})
	if err != nil {
		return err
	}
	set, err := modules.Open(c.ModulesDir)
	if err != nil {
		return err
	}
	load, missing, err := set.Load(append(append([]string{}, channel...), spec.modules...)...)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("make host: the kernel %s has no modules %s", c.Kernel.Release, strings.Join(missing, " "))
	}
	a, err := newArchive(to)
	if err != nil {
		return err
	}
	return a.close(a.fill(root, set, load, store.Dir()))
}

func (a *archive) fill(root string, set *modules.Set, load []modules.Module, cacheDir string) error {
	if err := a.tree(root); err != nil {
		return err
	}
	if err := a.dir("modules"); err != nil {
		return err
	}
	var order bytes.Buffer
	for _, m := range load {
		data, err := set.Read(m)
		if err != nil {
			return err
		}
		fmt.Fprintln(&order, m.Name+".ko")
		if err := a.file("modules/"+m.Name+".ko", 0o644, data); err != nil {
			return err
		}
	}
	if err := a.file("modules/order", 0o644, order.Bytes()); err != nil {
		return err
	}
	_, script, _ := bytes.Cut(initScript, []byte("\n"))
	return a.file("init", 0o755, fmt.Appendf(nil, "#!/bin/bash\nexport CACHE=%q\n%s", cacheDir, script))
}

// launch starts QEMU.
func (h *Host) launch(spec host, kernel, initrd, port, cacheDir string) error {
	args := append([]string{}, spec.machine...)
	args = append(args, "-accel", "tcg", "-m", "4096", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:"+h.Console(), "-kernel", kernel, "-initrd", initrd,
		"-append", "console="+spec.console+" rdinit=/init panic=-1 quiet",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=port,path="+port, "-device", "virtserialport,chardev=port,name=nest",
		"-virtfs", "local,mount_tag=share,security_model=none,multidevs=remap,path="+h.share,
		"-virtfs", "local,mount_tag=cache,security_model=none,multidevs=remap,readonly=on,path="+cacheDir)
	log, err := os.Create(filepath.Join(h.dir, "qemu.log"))
	if err != nil {
		return fmt.Errorf("start host: %w", err)
	}
	h.cmd = exec.Command(spec.arch.Facts().QEMU, args...) //nolint:noctx // it lives until Stop
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go h.own(log, started)
	if err := <-started; err != nil {
		return fmt.Errorf("start host: %w", err)
	}
	return nil
}

// Console is the file with what the host prints.
func (h *Host) Console() string { return filepath.Join(h.dir, "console.log") }

// Put copies a file into the host, under a name, and returns its path in there.
func (h *Host) Put(file, name string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("copy into the host: %w", err)
	}
	if err := os.WriteFile(filepath.Join(h.share, name), data, 0o755); err != nil {
		return "", fmt.Errorf("copy into the host: %w", err)
	}
	return "/share/" + name, nil
}

// Ran is what a script left.
type Ran struct {
	// Exit is its exit status.
	Exit int
	// Dir has its stdout, stderr and the regular files that it left in its working
	// directory.
	Dir string
	// Took is how long it took.
	Took time.Duration
}

// Run has the host run a script of bash, in an empty directory, and waits for its end.
// A context that ends before leaves the host unusable.
func (h *Host) Run(ctx context.Context, script string) (Ran, error) {
	h.runs++
	r := Ran{Dir: filepath.Join(h.share, strconv.Itoa(h.runs))}
	if err := os.Mkdir(r.Dir, 0o755); err != nil {
		return r, fmt.Errorf("run in the host: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "script"), []byte(script), 0o644); err != nil {
		return r, fmt.Errorf("run in the host: %w", err)
	}
	start := time.Now()
	if _, err := fmt.Fprintln(h.conn, h.runs); err != nil {
		return r, fmt.Errorf("run in the host: %w", err)
	}
	answer, err := h.answer(ctx)
	if err != nil {
		return r, fmt.Errorf("run in the host: %w: see %s", err, h.Console())
	}
	r.Took = time.Since(start)
	number, status, _ := strings.Cut(answer, " ")
	if r.Exit, err = strconv.Atoi(status); err != nil || number != strconv.Itoa(h.runs) {
		return r, fmt.Errorf("run in the host: it answered %q to script %d", answer, h.runs)
	}
	return r, nil
}

// answer reads one line from the host.
func (h *Host) answer(ctx context.Context) (string, error) {
	unhook := context.AfterFunc(ctx, func() { _ = h.conn.SetReadDeadline(time.Now()) })
	defer unhook()
	if h.answers.Scan() {
		return h.answers.Text(), nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return "", errors.Join(errors.New("the host ended"), h.answers.Err())
}

// Stop ends the host.
func (h *Host) Stop() error {
	if h.conn != nil {
		_ = h.conn.Close()
	}
	_ = h.cmd.Process.Kill()
	<-h.ended
	return nil
}
