package candidate

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a guest says of its kernel is put into names of files.
func TestSearchPaths(t *testing.T) {
	id := "0123456789abcdef0123456789abcdef01234567"
	got := Search{Releases: []string{"6.1.0-50-cloud-amd64", "../../etc", "x/y", "", "*"}, BuildID: id, First: []string{"/srv/bzImage"}}.paths()
	want := []string{
		"/srv/bzImage",
		"/boot/vmlinuz-6.1.0-50-cloud-amd64", "/boot/vmlinux-6.1.0-50-cloud-amd64", "/boot/Image-6.1.0-50-cloud-amd64", "/boot/kernel-6.1.0-50-cloud-amd64",
		"/lib/modules/6.1.0-50-cloud-amd64/vmlinuz", "/lib/modules/6.1.0-50-cloud-amd64/vmlinux", "/lib/modules/6.1.0-50-cloud-amd64/build",
		"/usr/lib/debug/boot/vmlinux-6.1.0-50-cloud-amd64", "/usr/lib/debug/lib/modules/6.1.0-50-cloud-amd64/vmlinux",
		"/usr/lib/debug/.build-id/01/23456789abcdef0123456789abcdef01234567.debug",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := (Search{BuildID: "../x"}).paths(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestFindWhereNothingIs(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "boot", "vmlinuz-6.1"), []byte("no kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	is := func(string, string) bool { return true }
	c, looked, err := Find(t.Context(), Search{Is: is, Releases: []string{"6.1"}, root: root}, Options{Cache: store(t)})
	if c != nil || err != nil || !slices.Contains(looked, "/boot") {
		t.Errorf("%v, %q, %v", c, looked, err)
	}
}
