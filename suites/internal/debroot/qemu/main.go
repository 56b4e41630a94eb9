// Command qemu unpacks the QEMU of a Debian release beside the system's own, and prints
// the directory that has to come first in PATH for it to be used.
//
//	usage: go run ./suites/internal/debroot/qemu RELEASE
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/internal/debroot"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: qemu RELEASE")
		os.Exit(2)
	}
	dir, err := get(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "qemu:", err)
		os.Exit(3)
	}
	fmt.Println(dir)
}

// get makes a directory with nothing but the release's QEMUs: the rest of its programs
// must not come first in PATH.
func get(ctx context.Context, release string) (string, error) {
	store, err := cache.Default()
	if err != nil {
		return "", err
	}
	spec := debroot.Spec{Release: release, Arch: arch.Host(), Expired: release == "sid"}
	for _, a := range arch.All() {
		spec.Packages = append(spec.Packages, a.Facts().QEMUPackages.APT)
		spec.Programs = append(spec.Programs, a.Facts().QEMU)
	}
	root, err := debroot.Get(ctx, store, spec)
	if err != nil {
		return "", err
	}
	dir, err := store.Get(ctx, cache.Key{Kind: "qemu", Inputs: []string{"1", root}}, func(_ context.Context, dir string) error {
		for _, p := range spec.Programs {
			if err := os.Symlink(filepath.Join(root, "usr/bin", p), filepath.Join(dir, p)); err != nil {
				return fmt.Errorf("link QEMU: %w", err)
			}
		}
		return nil
	})
	return dir, err
}
