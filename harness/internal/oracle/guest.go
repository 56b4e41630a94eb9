package oracle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Hang is a guest that stops.
type Hang struct {
	// Kernel is deb:PACKAGE[=VERSION][@SUITE], with a debug package beside it; ""
	// means the default kernel of Arch.
	Kernel string
	Arch   arch.Arch
	// Sleeps is the kernel function that is made to sleep for ever, in a tiny
	// initramfs; "" has the agent there wait for a file lock.
	Sleeps string
	// Distro boots a Debian with dracut and systemd instead, which stops short of
	// multi-user.target.
	Distro bool
	// Moved boots the kernel's file as it is packed, which moves itself (KASLR).
	Moved bool
}

// Guest is a guest that has stopped, and was dumped.
type Guest struct {
	// Dump is QEMU's dump of it, an ELF file.
	Dump string
	// Kernel is the one that was booted.
	Kernel *kernel.Kernel
	// stock is what Kernel was made from.
	stock *candidate.Candidate
	store *cache.Store
}

// Boot boots the guest until it has stopped and dumps its memory below dir.
func (h Hang) Boot(ctx context.Context, dir string) (*Guest, error) {
	p, err := plan.New("oracle")
	if err != nil {
		return nil, err
	}
	g := &Guest{Dump: filepath.Join(dir, "memory.elf"), store: p.Store}
	if g.stock, err = p.Candidate(ctx, cmp.Or(h.Kernel, plan.DefaultKernel(h.Arch)), h.Arch); err != nil {
		return nil, err
	}
	c := g.stock
	if h.Sleeps != "" {
		file := filepath.Join(dir, "mutant")
		if _, err := mutate.WriteFile(ctx, c.Kernel, file, h.Sleeps, mutate.Sleep); err != nil {
			return nil, err
		}
		if c, err = p.Candidate(ctx, file, h.Arch); err != nil {
			return nil, err
		}
	}
	g.Kernel = c.Kernel
	req, err := h.request(ctx, p, c, dir)
	if err != nil {
		return nil, err
	}
	res, err := harness.Boot(ctx, req)
	if err != nil {
		return nil, err
	}
	if res.Kept == nil {
		return nil, fmt.Errorf("the guest should hang, but ended as %s: %s", res.Outcome, res.Why)
	}
	return g, dumpMemory(ctx, res.Kept.PID, res.Kept.QMP, g.Dump)
}

func (h Hang) request(ctx context.Context, p *plan.Planner, c *candidate.Candidate, dir string) (harness.Request, error) {
	name, arg := "tiny", "unwedge.fault=flock"
	if h.Distro {
		name, arg = "distro", "systemd.unit=basic.target"
	}
	tmpl, err := scenarios.Builtin().Find(name)
	if err != nil {
		return harness.Request{}, err
	}
	cells := tmpl.Cells()
	sc := cells[slices.IndexFunc(cells, func(s scenarios.Scenario) bool { return s.Arch == h.Arch })]
	if h.Sleeps == "" {
		sc.Cmdline = append(sc.Cmdline, arg)
	}
	req, err := p.Request(ctx, sc, c)
	if err != nil {
		return harness.Request{}, err
	}
	if h.Moved {
		req.Machine.Kernel = c.Kernel.Path
	}
	req.Dir, req.Calibration, req.Keep = filepath.Join(dir, "run"), nil, true
	return req, os.Mkdir(req.Dir, 0o755)
}

// dumpMemory has a QEMU dump its guest, and ends it.
func dumpMemory(ctx context.Context, pid int, socket, file string) (err error) {
	defer func() {
		if err != nil {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone
		}
	}()
	conn, err := qmp.Dial(ctx, socket, qmp.Options{Timeout: time.Minute})
	if err != nil {
		return fmt.Errorf("dump the guest: %w", err)
	}
	defer conn.Close()
	how := map[string]any{"paging": false, "protocol": "file:" + file}
	if err := conn.Execute(ctx, "dump-guest-memory", how, nil); err != nil {
		return fmt.Errorf("dump the guest: %w", err)
	}
	if err := conn.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
		return fmt.Errorf("end the guest: %w", err)
	}
	return os.Chmod(file, 0o600) // QEMU makes it for reading only
}

// Load reads what the booted kernel's image says, from the unpacked kernel that the
// image cache holds.
func (g *Guest) Load(ctx context.Context) (*guestmem.Kernel, error) { return load(ctx, *g.Kernel) }

// LoadPacked does so from the kernel's file alone, without any cache.
func (g *Guest) LoadPacked(ctx context.Context) (*guestmem.Kernel, error) {
	k := *g.Kernel
	k.Unpacked = ""
	return load(ctx, k)
}

func load(ctx context.Context, k kernel.Kernel) (*guestmem.Kernel, error) {
	payload, err := k.Payload(ctx)
	if err != nil {
		return nil, err
	}
	table, err := kallsyms.Parse(payload, k.Arch)
	if err != nil {
		return nil, err
	}
	return guestmem.LoadKernel(payload, k.Arch, table, nil)
}

// Debug is the debug information of a kernel.
type Debug struct {
	Vmlinux string
	modules string // a directory
}

// Debug fetches the guest's debug information, once.
func (g *Guest) Debug(ctx context.Context) (Debug, error) {
	k := g.stock.Kernel
	spec, suite, _ := strings.Cut(g.stock.Origin, "@")
	_, version, _ := strings.Cut(spec, "=")
	dir, err := candidate.ArchiveDebug(ctx, k.Release, version, suite, candidate.Options{Arch: k.Arch, Cache: g.store})
	if err != nil {
		return Debug{}, err
	}
	return Debug{Vmlinux: filepath.Join(dir, "boot", "vmlinux-"+k.Release), modules: filepath.Join(dir, "lib/modules", k.Release)}, nil
}

// Files are the vmlinux and the debug information of loaded modules.
func (d Debug) Files(loaded []string) ([]string, error) {
	out := []string{d.Vmlinux}
	err := filepath.WalkDir(d.modules, func(path string, _ os.DirEntry, err error) error {
		name, ok := strings.CutSuffix(filepath.Base(path), ".ko")
		if ok && slices.Contains(loaded, strings.ReplaceAll(name, "-", "_")) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the modules' debug information: %w", err)
	}
	return out, nil
}
