package kbuild

import (
	"context"
	"strings"

	"github.com/unwedge/unwedge/images/candidate"
)

// ResolveConfig turns a user's --config into a Spec's Config: for "deb:PACKAGE…",
// the configuration that a kernel package of the Debian archive was built with, or
// that of a flavour in linux-config-SERIES (candidate.ArchiveConfig); anything else
// is returned as it is.
func ResolveConfig(ctx context.Context, arg string, opts candidate.Options) (string, error) {
	if !strings.HasPrefix(arg, "deb:") {
		return arg, nil
	}
	return candidate.ArchiveConfig(ctx, arg, opts)
}
