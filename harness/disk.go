package harness

import (
	"context"
	"fmt"
)

// diskReads returns how many reads of its disks the guest has had answered
// (QMP query-blockstats, qapi/block-core.json). A boot that idles because a disk
// is slow has some in every second or two; one that is stuck reads nothing. What
// it writes says less: a stuck distribution's journal is still synced.
func (s *session) diskReads(ctx context.Context) (int64, error) {
	if len(s.req.Machine.Disks) == 0 {
		return 0, nil
	}
	var disks []struct {
		Stats struct {
			Reads int64 `json:"rd_operations"`
		} `json:"stats"`
	}
	if err := s.g.qmp.Execute(ctx, "query-blockstats", nil, &disks); err != nil {
		return 0, fmt.Errorf("read the disks' counters: %w", err)
	}
	var n int64
	for _, d := range disks {
		n += d.Stats.Reads
	}
	return n, nil
}
