package candidate

import (
	"slices"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	// The order is dpkg's own: `dpkg --compare-versions`.
	ordered := []string{"5.10.262-1", "6.1.176-1", "6.1.192-2", "6.12.9-1", "6.12.43-1~bpo12+1", "6.12.43-1", "6.12.117-1", "7.3.4-1~bpo13+1", "7.3.4-1", "1:1.0"}
	shuffled := slices.Clone(ordered)
	slices.Reverse(shuffled)
	slices.SortFunc(shuffled, compareVersions)
	if !slices.Equal(shuffled, ordered) {
		t.Errorf("sorted to %v", shuffled)
	}
	if compareVersions("6.01-1", "6.1-1") != 0 {
		t.Error("leading zeroes count")
	}
}

func TestKernelDepends(t *testing.T) {
	// From linux-image-7.3.4+deb13-amd64, trixie-backports.
	got := kernelDepends("dracut | initramfs-tools (>= 0.120+deb8u2), kmod, linux-base (>= 4.3~), " +
		"linux-base-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), linux-binary-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)")
	want := []dependency{{"linux-base-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1"}, {"linux-binary-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPackageNames(t *testing.T) {
	for name, want := range map[string]struct{ image, meta bool }{
		"linux-image-amd64":                   {true, true},
		"linux-image-cloud-amd64":             {true, true},
		"linux-image-6.1.0-50-amd64":          {true, false},
		"linux-image-6.12.43+deb13-arm64-16k": {true, false},
		"linux-image-6.1.0-50-amd64-dbg":      {false, false},
		"linux-image-6.1.0-50-amd64-unsigned": {false, false},
		"linux-image-amd64-signed-template":   {false, true},
		"linux-modules-cloud-amd64":           {false, true},
		"linux-modules-7.3.4+deb13-amd64":     {false, false},
		"linux-base":                          {false, false},
	} {
		if isImage(name) != want.image || isMeta(name) != want.meta {
			t.Errorf("%s: image %v, meta %v", name, isImage(name), isMeta(name))
		}
	}
}
