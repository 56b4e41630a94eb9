package guestfile_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/images/guestfile"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// program is the beginning of an ELF file.
func program(a arch.Arch) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[18:], a.Facts().ELF)
	return b
}

func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for name, data := range files {
		if err := w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: int64(len(data)), Links: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func put(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func oneLine(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line with %q", err, want)
	}
}

func TestInitrd(t *testing.T) {
	arm := archive(t, map[string][]byte{"init": program(arch.AArch64)})
	script := archive(t, map[string][]byte{"init": []byte("#!/bin/sh\nexec sleep 1000000\n")})
	for name, tc := range map[string]struct {
		file []byte
		want arch.Arch
		err  string
	}{
		"plain":                 {arm, arch.AArch64, ""},
		"compressed":            {packed(t, arm), arch.AArch64, ""},
		"microcode before it":   {append(append(bytes.Clone(script), make([]byte, 512)...), packed(t, arm)...), arch.AArch64, ""},
		"no program in it":      {script, "", ""},
		"empty":                 {nil, "", "it is empty"},
		"text":                  {[]byte("hello, world\n"), "", "not a cpio archive"},
		"a program":             {program(arch.X86_64), "", "a program or kernel"},
		"a disk":                {[]byte("QFI\xfb0000000"), "", "use --disk"},
		"an old archive":        {[]byte("0707070000000"), "", "cpio -o -H newc"},
		"something compressed":  {packed(t, []byte("hello, world")), "", "gzip-compressed, but not a cpio archive"},
		"cut short":             {arm[:112], "", "damaged"},
		"a cut compressed file": {packed(t, arm)[:20], "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := guestfile.Initrd(put(t, tc.file))
			if name == "a cut compressed file" {
				oneLine(t, err, "")
				return
			}
			if tc.err != "" {
				oneLine(t, err, tc.err)
				return
			}
			if got != tc.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	_, err := guestfile.Initrd(t.TempDir())
	oneLine(t, err, "it is a directory")
	_, err = guestfile.Initrd("/nowhere/at/all")
	oneLine(t, err, "/nowhere/at/all: no such file")
}

func TestDisk(t *testing.T) {
	at := func(size, off int, magic string) []byte {
		b := make([]byte, size)
		copy(b[off:], magic)
		return b
	}
	q := at(512, 0, "QFI\xfb\x00\x00\x00\x03")
	for name, tc := range map[string]struct {
		file []byte
		want guestfile.Format
		err  string
	}{
		"partitions":      {at(4096, 510, "\x55\xaa"), guestfile.Raw, ""},
		"ext4":            {at(8192, 1080, "\x53\xef"), guestfile.Raw, ""},
		"blank":           {make([]byte, 4096), guestfile.Raw, ""},
		"qcow2":           {q, guestfile.QCOW2, ""},
		"qcow, version 1": {at(512, 0, "QFI\xfb\x00\x00\x00\x01"), "", "version 1"},
		"encrypted":       {append(append(bytes.Clone(q[:35]), 1), q[36:]...), "", "encrypted"},
		"a short qcow2":   {q[:40], "", "cut short"},
		"VMDK":            {at(512, 0, "KDMV"), "", "qemu-img convert"},
		"compressed":      {at(512, 0, "\xfd7zXZ\x00"), "", "unpack it"},
		"text":            {[]byte(strings.Repeat("hello, world. 16", 32)), "", "no partition table"},
		"half a sector":   {make([]byte, 700), "", "no whole number of sectors"},
		"empty":           {nil, "", "it is empty"},
		"a tar archive":   {at(1024, 257, "ustar"), "", "a tar archive"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := guestfile.Disk(put(t, tc.file))
			if tc.err != "" {
				oneLine(t, err, tc.err)
				return
			}
			if got != tc.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	_, err := guestfile.Disk("/dev/null")
	oneLine(t, err, "not a regular file")
}

func TestRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := guestfile.Root(dir); got != "" || err != nil {
		t.Errorf("no programs: %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/bin/dash"), program(arch.AArch64), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/bin/dash", filepath.Join(dir, "usr/bin/sh")); err != nil {
		t.Fatal(err)
	}
	if got, err := guestfile.Root(dir); got != arch.AArch64 || err != nil {
		t.Errorf("an absolute link: %q, %v", got, err)
	}
	_, err := guestfile.Root(t.TempDir())
	oneLine(t, err, "neither usr nor bin")
	_, err = guestfile.Root(put(t, []byte("x")))
	oneLine(t, err, "not a directory")
}
