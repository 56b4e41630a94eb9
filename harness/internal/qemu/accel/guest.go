package accel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// guest is the test guest of one architecture.
type guest struct{ arch.TestGuest }

func guestFor(a arch.Arch) (guest, error) {
	f := a.Facts()
	if f.Test.Code == nil {
		return guest{}, fmt.Errorf("no test guest for architecture %q", a)
	}
	return guest{f.Test}, nil
}

// ran says whether the guest did all it should have.
func (g guest) ran(exit qemu.Exit, serial string) error {
	if exit.Code == g.Exit && serial == g.Serial {
		return nil
	}
	if err := exit.Err(); err != nil {
		return err
	}
	return errors.New("QEMU ended before the test guest had answered")
}

// cpuModel is the model that test guests run on.
func cpuModel(name string) string {
	if name == KVM {
		return "host"
	}
	return "max"
}

// command lays the guest out in dir and returns how to run it.
func (g guest) command(qemuPath, accel, cpu, dir string) (qemu.Command, error) {
	code := filepath.Join(dir, "guest")
	if err := os.WriteFile(code, g.Code(), 0o600); err != nil {
		return qemu.Command{}, fmt.Errorf("write test guest: %w", err)
	}
	args := slices.Concat(g.Machine, []string{
		"-accel", accel, "-cpu", cpu, "-nodefaults", "-no-user-config", "-display", "none",
		"-chardev", "file,id=serial,path=" + strings.ReplaceAll(serialFile(dir), ",", ",,"), "-serial", "chardev:serial",
		g.Load, code,
	})
	// Dir: a QEMU that aborts may leave a core file where it runs.
	return qemu.Command{Path: qemuPath, Args: args, Dir: dir}, nil
}

func serialFile(dir string) string { return filepath.Join(dir, "serial") }
