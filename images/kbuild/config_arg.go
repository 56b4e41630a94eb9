package kbuild

import (
	"context"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/images/candidate"
)

// ResolveConfig turns a user's --config into a Spec's Config: for "deb:PACKAGE…",
// the configuration that a kernel package of the Debian archive was built with
// (its /boot/config), or a packaged linux-config-SERIES; anything else is returned
// as it is.
func ResolveConfig(ctx context.Context, arg string, opts candidate.Options) (string, error) {
	if !strings.HasPrefix(arg, "deb:") {
		return arg, nil
	}
	c, err := candidate.Resolve(ctx, arg, opts)
	if err != nil {
		return "", err
	}
	if c.ConfigPath == "" {
		return "", fmt.Errorf("kernel configuration %s: the package has none", arg)
	}
	return c.ConfigPath, nil
}
