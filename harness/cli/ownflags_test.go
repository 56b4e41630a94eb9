package cli

import (
	"testing"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestKernelWithDisk: root= with a disk is the kernel's to mount, unless the user names
// what else is.
func TestKernelWithDisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		f    bootFlags
		want scenarios.Initramfs
		sign scenarios.SignKind
	}{
		{"a disk alone is one more device", bootFlags{}, scenarios.Tiny, scenarios.ByStage},
		{"root= is mounted by the kernel", bootFlags{cmdline: []string{"quiet root=/dev/vda1", "rw"}}, scenarios.NoInitrd, scenarios.ByInit},
		{"what counts as booted stays", bootFlags{cmdline: []string{"root=/dev/vda1"}, own: ownFlags{expect: "login"}}, scenarios.NoInitrd, scenarios.ByLogin},
		{"an initramfs that is named stays", bootFlags{cmdline: []string{"root=/dev/vda1"}, initramfs: "tiny"}, scenarios.Tiny, scenarios.ByStage},
		{"an initramfs of the user's stays", bootFlags{cmdline: []string{"root=/dev/vda1"}, own: ownFlags{initrd: "/x/initrd"}}, scenarios.OwnInitrd, scenarios.ByInit},
		{"xroot= is another word", bootFlags{cmdline: []string{"xroot=/dev/vda1"}}, scenarios.Tiny, scenarios.ByStage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tiny, err := scenarios.Builtin().Find("tiny")
			if err != nil {
				t.Fatal(err)
			}
			tt.f.own.disk = "/x/disk.img"
			sc, err := tt.f.cell(tiny, arch.X86_64)
			if err != nil {
				t.Fatal(err)
			}
			if sc.Initramfs != tt.want || sc.Booted().Kind != tt.sign || sc.Disk != "/x/disk.img" {
				t.Errorf("initramfs %s, booted by %s", sc.Initramfs, sc.Booted().Kind)
			}
		})
	}
}
