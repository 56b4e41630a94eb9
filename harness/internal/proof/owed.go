package proof

import (
	"context"
	"fmt"
)

// Monitor is the part of a QMP connection that is needed here.
type Monitor interface {
	Execute(ctx context.Context, cmd string, args, out any) error
}

// devices are the virtio devices that answer each request, or take one only when they
// have something to give. QEMU counts what it has taken and not answered yet
// (hw/virtio/virtio.c, VirtQueue.inuse; vhost devices do not count).
var devices = map[string]bool{"virtio-blk": true, "virtio-scsi": true, "virtio-rng": true, "virtio-serial": true, "virtio-9p": true, "virtio-balloon": true}

// device, status and queue are parts of QEMU's answers (qapi/virtio.json).
type device struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

type status struct {
	VQs int `json:"num-vqs"`
}

type queue struct {
	Inuse int `json:"inuse"`
}

// maxQueues bounds the queues of one device.
const maxQueues = 1024

// Owed are the requests that devices have not answered. An error says that QEMU does not
// tell (before 7.2), or that there is a device of which it does not know.
func Owed(ctx context.Context, m Monitor) ([]string, error) {
	var all []device
	if err := m.Execute(ctx, "x-query-virtio", nil, &all); err != nil {
		return nil, fmt.Errorf("QEMU does not tell what its devices owe: %w", err)
	}
	var owed []string
	for _, d := range all {
		if !devices[d.Name] {
			return nil, fmt.Errorf("QEMU does not tell what %s owes", d.Name)
		}
		n, err := queues(ctx, m, d.Path)
		if err != nil {
			return nil, err
		}
		for q := range n {
			var st queue
			if err := m.Execute(ctx, "x-query-virtio-queue-status", map[string]any{"path": d.Path, "queue": q}, &st); err != nil {
				return nil, fmt.Errorf("ask what %s owes: %w", d.Name, err)
			}
			if st.Inuse > 0 {
				owed = append(owed, fmt.Sprintf("%s has %d requests to answer", d.Name, st.Inuse))
			}
		}
	}
	return owed, nil
}

// queues is how many queues a device has set up.
func queues(ctx context.Context, m Monitor, path string) (int, error) {
	var st status
	if err := m.Execute(ctx, "x-query-virtio-status", map[string]any{"path": path}, &st); err != nil {
		return 0, fmt.Errorf("ask how many queues %s has: %w", path, err)
	}
	return min(st.VQs, maxQueues), nil
}
