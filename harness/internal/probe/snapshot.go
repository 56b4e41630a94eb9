package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qmp"
)

// Snapshot is the saved state of a guest: memory, devices and writable disks,
// whose format must support snapshots, as QEMU's snapshot=on does.
type Snapshot struct {
	m       Monitor
	devices []string // nodes of the block layer
	path    string
	jobs    int
}

const (
	tag       = "hung"
	stateNode = "probe-state"
	fileNode  = "probe-state-file"
	// jobTime bounds one job: the guest's memory is written at the speed of the
	// host's disk.
	jobTime = 2 * time.Minute
)

// Save saves the state of a guest, which should be paused, to a file at path. The
// file is unlinked when Save returns and goes away with QEMU. The guest is
// unchanged, even after an error.
func Save(ctx context.Context, m Monitor, path string) (s *Snapshot, err error) {
	s = &Snapshot{m: m, path: path, devices: []string{stateNode}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("save the state of the guest: %w", err), s.remove())
			s = nil
		}
	}()
	type args = map[string]any
	if err := s.job(ctx, "blockdev-create", args{"options": args{"driver": "file", "filename": path, "size": 0}}); err != nil {
		return s, err
	}
	unsafe := args{"no-flush": true} // the file does not outlive QEMU
	if err := m.Execute(ctx, "blockdev-add", args{"driver": "file", "node-name": fileNode, "filename": path, "cache": unsafe}, nil); err != nil {
		return s, err
	}
	// The disk itself is empty: the state lies beside its content.
	if err := s.job(ctx, "blockdev-create", args{"options": args{"driver": "qcow2", "file": fileNode, "size": 1 << 20}}); err != nil {
		return s, err
	}
	if err := m.Execute(ctx, "blockdev-add", args{"driver": "qcow2", "node-name": stateNode, "file": fileNode, "cache": unsafe}, nil); err != nil {
		return s, err
	}
	// QEMU has it open: unlinked, it goes away with QEMU, whatever happens.
	if err := errors.Join(s.remove(), s.disks(ctx)); err != nil {
		return s, err
	}
	return s, s.job(ctx, "snapshot-save", args{"tag": tag, "vmstate": stateNode, "devices": s.devices})
}

// disks finds the guest's writable disks.
func (s *Snapshot) disks(ctx context.Context) error {
	var blocks []struct {
		Inserted *struct {
			Node     string `json:"node-name"`
			ReadOnly bool   `json:"ro"`
		} `json:"inserted"`
	}
	if err := s.m.Execute(ctx, "query-block", nil, &blocks); err != nil {
		return err
	}
	for _, b := range blocks {
		if b.Inserted != nil && !b.Inserted.ReadOnly && b.Inserted.Node != "" {
			s.devices = append(s.devices, b.Inserted.Node)
		}
	}
	return nil
}

// Load restores the guest, which runs afterwards if it ran before. After an error
// the state of the guest is unknown.
func (s *Snapshot) Load(ctx context.Context) error {
	err := s.job(ctx, "snapshot-load", map[string]any{"tag": tag, "vmstate": stateNode, "devices": s.devices})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoSnapshot, err)
	}
	return nil
}

func (s *Snapshot) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unlink the state of the guest: %w", err)
	}
	return nil
}

// job runs a command that is a background job to its end (QEMU,
// qapi/job.json).
func (s *Snapshot) job(ctx context.Context, cmd string, args map[string]any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, jobTime, fmt.Errorf("not done within %s", jobTime))
	defer cancel()
	s.jobs++
	id := fmt.Sprintf("probe-%d", s.jobs)
	args["job-id"] = id
	// QEMU does not reply while it writes or reads the guest's memory: that is
	// not a failure.
	if err := s.m.Execute(ctx, cmd, args, nil); err != nil && !errors.Is(err, qmp.ErrNoReply) {
		return err
	}
	for {
		var jobs []struct{ ID, Status, Error string }
		if err := s.m.Execute(ctx, "query-jobs", nil, &jobs); err != nil && !errors.Is(err, qmp.ErrNoReply) {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%s: %w", cmd, err)
		}
		for _, j := range jobs {
			if j.ID != id || j.Status != "concluded" {
				continue
			}
			err := s.m.Execute(ctx, "job-dismiss", map[string]string{"id": id}, nil)
			if j.Error != "" {
				err = errors.New(j.Error)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", cmd, err)
			}
			return nil
		}
		if !pause(ctx, 10*time.Millisecond) {
			return fmt.Errorf("%s: %w", cmd, context.Cause(ctx))
		}
	}
}
