package candidate

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

const release = kerneltest.Release

// entry is one member of an archive made by these tests.
type entry struct {
	name, body, link string
	kind             byte // a tar type; 0 is a regular file
	exec             bool
	mode             int64 // the permissions in a tar archive, 0 for those that exec says
	inode            int64 // shared by hard links in a cpio archive
}

func tarball(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: 0o644, Size: int64(len(e.body)), Format: tar.FormatGNU}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.exec {
			h.Mode = 0o755
		}
		if e.mode != 0 {
			h.Mode = e.mode
		}
		check(t, w.WriteHeader(h))
		_, err := w.Write([]byte(e.body))
		check(t, err)
	}
	check(t, w.Close())
	return out.Bytes()
}

func arFile(members ...entry) []byte {
	out := []byte(arMagic)
	for _, m := range members {
		out = append(out, fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.body))...)
		out = append(out, m.body...)
		if len(m.body)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

func pack(t testing.TB, comp string, b []byte) []byte {
	t.Helper()
	if comp == "none" {
		return b
	}
	out, err := kerneltest.Pack(comp, b)
	check(t, err)
	return out
}

func deb(t testing.TB, comp string, entries ...entry) []byte {
	t.Helper()
	return arFile(entry{name: "debian-binary", body: "2.0\n"}, entry{name: "control.tar", body: "odd"},
		entry{name: "data.tar." + comp, body: string(pack(t, comp, tarball(t, entries...)))})
}

func rpm(t testing.TB, comp string, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := cpio.NewWriter(&out)
	for _, e := range entries {
		h := &cpio.Header{Name: e.name, Mode: cpio.TypeReg | 0o644, Size: int64(len(e.body))}
		if e.inode != 0 {
			h.Inode, h.Links = e.inode, 2
		}
		switch e.kind {
		case tar.TypeDir:
			h.Mode = cpio.TypeDir | 0o755
		case tar.TypeSymlink:
			h.Mode, h.Size, e.body = cpio.TypeSymlink|0o777, int64(len(e.link)), e.link
		case tar.TypeChar:
			h.Mode = cpio.TypeChar | 0o600
		}
		check(t, w.WriteHeader(h))
		_, err := w.Write([]byte(e.body))
		check(t, err)
	}
	check(t, w.Close())
	b := append([]byte(rpmMagic), make([]byte, rpmLead-4)...)
	header := func(index, store int) {
		b = append(b, rpmHeader+"\x01\x00\x00\x00\x00"...)
		b = binary.BigEndian.AppendUint32(b, uint32(index))
		b = binary.BigEndian.AppendUint32(b, uint32(store))
		b = append(b, make([]byte, index*16+store)...)
	}
	header(1, 5)
	b = append(b, 0, 0, 0) // the signature is padded to 8
	header(2, 7)
	return append(b, pack(t, comp, out.Bytes())...)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, b []byte) string {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, b, 0o600))
	return path
}

func store(t testing.TB) *cache.Store {
	t.Helper()
	s, err := cache.Open(t.TempDir())
	check(t, err)
	return s
}

// image is a bzImage as a package has it.
func image(t testing.TB) string {
	t.Helper()
	return string(kerneltest.BzImage(pack(t, "gzip", kerneltest.Vmlinux())))
}

// module is a kernel module that depends on others.
func module(depends string) []byte {
	return kerneltest.ELF(1, 62, kerneltest.Section{Name: ".modinfo", Type: 1, Data: []byte("license=GPL\x00depends=" + depends + "\x00")})
}

// debian6 is laid out as Debian's packages until 6.18, fedora as Fedora's
// kernel-core.
func debian6(t testing.TB) []entry {
	return []entry{
		{name: "./", kind: tar.TypeDir}, {name: "./boot/vmlinuz-" + release, body: image(t)},
		{name: "./boot/config-" + release, body: "CONFIG_HZ=250\n"}, {name: "./boot/System.map-" + release, body: "stub\n"},
		{name: "./lib/modules/" + release + "/kernel/fs/a.ko", body: "a"},
		{name: "./lib/modules/" + release + "/build", kind: tar.TypeSymlink, link: "/usr/src/linux-headers"},
		{name: "./usr/share/doc/linux/copyright", body: "GPL"},
	}
}

func fedora(t testing.TB) []entry {
	return []entry{
		{name: "./usr/lib/modules/" + release + "/vmlinuz", body: image(t)},
		{name: "./usr/lib/modules/" + release + "/.vmlinuz.hmac", body: "0"},
		{name: "./usr/lib/modules/" + release + "/config", body: "CONFIG_HZ=250\n"},
		{name: "./usr/lib/modules/" + release + "/System.map", body: "stub\n"},
		{name: "./usr/lib/modules/" + release + "/kernel/fs/a.ko", body: "a"},
		{name: "./boot/vmlinuz-link", kind: tar.TypeSymlink, link: "../usr/lib/modules/" + release + "/vmlinuz"},
	}
}
