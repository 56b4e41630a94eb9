package run

import (
	"context"
	"errors"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
)

// DiskReads returns how many reads of its disks the guest has had answered. A boot that idles because a disk
// is slow has some in every second or two; one that is stuck reads nothing. What
// it writes says less: a stuck distribution's journal is still synced.
func (g *Guest) DiskReads(ctx context.Context) (int64, error) {
	if len(g.machine.Disks) == 0 {
		return 0, nil
	}
	return g.qmp.DiskReads(ctx)
}

// Memory is the guest's memory, with QEMU's text of its registers of this moment.
func (g *Guest) Memory(ctx context.Context) (ram physmem.Reader, registers string, err error) {
	_, registers, err = vcpu.Registers(ctx, g.qmp, nil)
	if err != nil {
		return nil, "", err
	}
	sc := g.machine.Scenario
	return physmem.New(g.ram, physmem.RangesOn(sc.Arch, sc.MachineType(), uint64(sc.MemoryMiB)<<20)), registers, nil
}

// Stopped runs f while the guest stands still.
func (g *Guest) Stopped(ctx context.Context, f func(context.Context) error) (err error) {
	if err := g.qmp.Execute(ctx, "stop", nil, nil); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, g.qmp.Execute(context.WithoutCancel(ctx), "cont", nil, nil))
	}()
	return f(ctx)
}
