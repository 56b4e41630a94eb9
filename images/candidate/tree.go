package candidate

import (
	"context"

	"github.com/unwedge/unwedge/images/kernel"
)

func resolveTree(ctx context.Context, dir string, opts Options) (*Candidate, error) {
	return nil, &kernel.BadKernelError{Path: dir, Reason: "TODO"}
}
