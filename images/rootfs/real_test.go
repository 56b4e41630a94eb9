package rootfs_test

import (
	"context"
	"os"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/guestbin"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestRealImages builds every image for one kernel, as root, with the network:
//
//	UNWEDGE_TEST_KERNEL=vmlinuz UNWEDGE_TEST_MODULES=lib/modules/REL UNWEDGE_TEST_RELEASE=REL \
//	UNWEDGE_TEST_ARCH=x86_64 go test -run RealImages -v ./images/rootfs
func TestRealImages(t *testing.T) {
	vmlinuz := os.Getenv("UNWEDGE_TEST_KERNEL")
	if vmlinuz == "" {
		t.Skip("UNWEDGE_TEST_KERNEL is not set")
	}
	if os.Geteuid() != 0 {
		t.Skip("building a root file system needs root")
	}
	a, err := arch.Parse(os.Getenv("UNWEDGE_TEST_ARCH"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := cache.Default()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	o := rootfs.Options{Arch: a, Store: store}
	k := rootfs.Kernel{Release: os.Getenv("UNWEDGE_TEST_RELEASE"), ModulesDir: os.Getenv("UNWEDGE_TEST_MODULES")}
	show := func(what, path string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", what, path)
	}
	path, err := rootfs.Ext4(ctx, o)
	show("root", path, err)
	for _, fips := range []bool{false, true} {
		f := rootfs.Flavour{FIPS: fips}
		path, err = rootfs.Dracut(ctx, o, k, f)
		show(f.String(), path, err)
	}
	for _, bad := range []bool{false, true} {
		path, err = rootfs.BootDisk(ctx, o, k, vmlinuz, rootfs.BootOptions{CorruptHMAC: bad})
		show("boot disk", path, err)
	}
	agent, err := guestbin.Binary(ctx, guestbin.Agent, a)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := rootfs.Overlay(agent, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out := os.Getenv("UNWEDGE_TEST_OVERLAY"); out != "" {
		if err := os.WriteFile(out, overlay, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
