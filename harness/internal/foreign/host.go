package foreign

import (
	"context"
	"fmt"
	"os"
)

// Host is what a guest runs on.
type Host struct {
	// Program is QEMU's file, "" where it cannot be seen; Version is QEMU's.
	Program, Version string
	// KVM says that KVM runs the guest.
	KVM bool
	// Memory is the guest's, in bytes.
	Memory uint64
}

// Host asks QEMU what it is.
func (g *Guest) Host(ctx context.Context) (h Host, err error) {
	var v struct {
		QEMU struct{ Major, Minor, Micro int } `json:"qemu"`
	}
	var kvm struct{ Enabled bool }
	var size struct {
		Base    uint64 `json:"base-memory"`
		Plugged uint64 `json:"plugged-memory"`
	}
	for _, q := range []struct {
		command string
		out     any
	}{{"query-version", &v}, {"query-kvm", &kvm}, {"query-memory-size-summary", &size}} {
		if err := g.QMP.Execute(ctx, q.command, nil, q.out); err != nil {
			return h, err
		}
	}
	h = Host{Version: fmt.Sprintf("%d.%d.%d", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro), KVM: kvm.Enabled, Memory: size.Base + size.Plugged}
	if g.PID != 0 {
		h.Program, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", g.PID)) // somebody else's is not shown
	}
	return h, nil
}
