package qmp

import (
	"context"
	"fmt"
)

// DiskReads is how many reads the guest's disks have answered in all (QMP
// query-blockstats, qapi/block-core.json).
func (c *Conn) DiskReads(ctx context.Context) (int64, error) {
	var disks []struct {
		Stats struct {
			Reads int64 `json:"rd_operations"`
		} `json:"stats"`
	}
	if err := c.Execute(ctx, "query-blockstats", nil, &disks); err != nil {
		return 0, fmt.Errorf("read the disks' counters: %w", err)
	}
	var n int64
	for _, d := range disks {
		n += d.Stats.Reads
	}
	return n, nil
}
