package kernel

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func pack(t testing.TB, comp string, b []byte) []byte {
	t.Helper()
	out, err := kerneltest.Pack(comp, b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIdentify(t *testing.T) {
	elf, img := kerneltest.Vmlinux(), kerneltest.Image()
	sized := func(comp string) []byte {
		return kerneltest.BzImage(kerneltest.Sized(pack(t, comp, elf), len(elf)))
	}
	for name, tc := range map[string]struct {
		file   []byte
		arch   arch.Arch
		format Format
		comp   Compression
	}{
		"vmlinux":            {elf, arch.X86_64, Vmlinux, None},
		"vmlinux.gz":         {pack(t, "gzip", elf), arch.X86_64, Vmlinux, Gzip},
		"bzImage gzip":       {kerneltest.BzImage(pack(t, "gzip", elf)), arch.X86_64, BzImage, Gzip},
		"bzImage xz":         {sized("xz"), arch.X86_64, BzImage, XZ},
		"bzImage xz BCJ":     {kerneltest.BzImage(kerneltest.Sized(testdata(t, "vmlinux.bcj-x86.xz"), len(elf))), arch.X86_64, BzImage, XZ},
		"bzImage zstd":       {sized("zstd"), arch.X86_64, BzImage, Zstd},
		"bzImage lz4":        {sized("lz4"), arch.X86_64, BzImage, LZ4},
		"bzImage lzma":       {sized("lzma"), arch.X86_64, BzImage, LZMA},
		"bzImage bzip2":      {kerneltest.BzImage(kerneltest.Sized(testdata(t, "vmlinux.bz2"), len(elf))), arch.X86_64, BzImage, Bzip2},
		"signed bzImage":     {append(sized("zstd"), "a signature behind the payload"...), arch.X86_64, BzImage, Zstd},
		"Image":              {img, arch.AArch64, Image, None},
		"Image.gz":           {pack(t, "gzip", img), arch.AArch64, Image, Gzip},
		"Image.xz":           {pack(t, "xz", img), arch.AArch64, Image, XZ},
		"Image.zst":          {pack(t, "zstd", img), arch.AArch64, Image, Zstd},
		"Image.lz4":          {pack(t, "lz4", img), arch.AArch64, Image, LZ4},
		"Image.lzma":         {pack(t, "lzma", img), arch.AArch64, Image, LZMA},
		"zboot gzip":         {kerneltest.Zboot("gzip", pack(t, "gzip", img)), arch.AArch64, Zboot, Gzip},
		"zboot zstd":         {kerneltest.Zboot("zstd22", pack(t, "zstd", img)), arch.AArch64, Zboot, Zstd},
		"vmlinux of aarch64": {arm64ELF(img), arch.AArch64, Vmlinux, None},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, tc.file)
			k, err := Identify(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if k.Arch != tc.arch || k.Format != tc.format || k.Compression != tc.comp {
				t.Errorf("is %s %s %s, want %s %s %s", k.Arch, k.Format, k.Compression, tc.arch, tc.format, tc.comp)
			}
			if k.Release != kerneltest.Release || k.Banner != kerneltest.Banner || k.BuildID != kerneltest.BuildID {
				t.Errorf("facts: %+v", k)
			}
			if k.PVH != (tc.arch == arch.X86_64) || k.Size != int64(len(tc.file)) || len(k.SHA256) != 64 {
				t.Errorf("facts: %+v", k)
			}
			want := elf
			if tc.arch == arch.AArch64 {
				want = img
			}
			if got, err := k.Payload(t.Context()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("payload differs (%d bytes, want %d), error %v", len(got), len(want), err)
			}
		})
	}
}

func arm64ELF(img []byte) []byte {
	return kerneltest.ELF(3, 183, kerneltest.Section{Name: ".head.text", Type: 1, Flags: 6, Addr: 0xffff800080000000, Data: img})
}

func TestIdentifyErrors(t *testing.T) {
	elf, img := kerneltest.Vmlinux(), kerneltest.Image()
	zst := kerneltest.Sized(pack(t, "zstd", elf), len(elf))
	bz := kerneltest.BzImage(zst)
	edit := func(b []byte, off int, s string) []byte {
		b = bytes.Clone(b)
		copy(b[off:], s)
		return b
	}
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"empty":               {nil, "empty"},
		"text":                {[]byte("hello"), "only 5 bytes"},
		"zeroes":              {make([]byte, 4096), "no bzImage"},
		"script":              {[]byte("#!/bin/sh\n"), "a script"},
		"deb":                 {[]byte("!<arch>\ndebian-binary"), "Debian package"},
		"rpm":                 {[]byte("\xed\xab\xee\xdb\x03"), "RPM"},
		"initramfs":           {[]byte("070701000000"), "cpio"},
		"truncated bzImage":   {bz[:len(bz)-10], "truncated bzImage: its payload ends at byte"},
		"header only":         {bz[:0x220], "truncated bzImage"},
		"32-bit bzImage":      {edit(bz, 0x236, "\x00\x00"), "32-bit"},
		"old protocol":        {edit(bz, 0x206, "\x07\x02"), "2.07"},
		"wrong trailer":       {edit(bz, len(bz)-4, "\x01\x00\x00\x00"), "trailer says 1"},
		"huge trailer":        {edit(bz, len(bz)-4, "\xff\xff\xff\xff"), "512 MiB"},
		"corrupt payload":     {edit(bz, 1024+20, "\xff\xff\xff\xff\xff\xff"), "corrupt zstd stream"},
		"lzo":                 {kerneltest.BzImage([]byte("\x89LZO\x00\r\n\x1a\nxxxxxxxx")), "not supported"},
		"unknown payload":     {kerneltest.BzImage([]byte("????????????")), "no known compression magic"},
		"payload is no ELF":   {kerneltest.BzImage(pack(t, "gzip", []byte("hi"))), "not an ELF file"},
		"truncated Image.gz":  {pack(t, "gzip", img)[:200], "truncated or corrupt gzip stream"},
		"truncated Image":     {truncatedImage(), "truncated arm64 Image: its last section ends at byte"},
		"big-endian Image":    {edit(img, 24, "\x01"), "big-endian"},
		"truncated zboot":     {kerneltest.Zboot("gzip", pack(t, "gzip", img))[:200], "truncated zboot image"},
		"gzip of text":        {pack(t, "gzip", []byte("hello")), "unpacked from gzip: not a kernel"},
		"truncated vmlinux":   {elf[:400], "truncated"},
		"program":             {bytes.ReplaceAll(elf, []byte("Linux version"), []byte("Lunix version")), "an ELF file, but not a kernel"},
		"module":              {kerneltest.ELF(1, 62), "object file"},
		"riscv":               {kerneltest.ELF(2, 243), "machine 243"},
		"32-bit ELF":          {[]byte("\x7fELF\x01" + strings.Repeat("\x00", 600)), "32-bit ELF"},
		"Image without facts": {bytes.ReplaceAll(img, []byte("Linux version"), []byte("Lunix version")), "damaged Image"},
		"aarch64 program":     {kerneltest.ELF(3, 183, kerneltest.Section{Name: ".text", Type: 1, Addr: 0x1000, Data: make([]byte, 99)}), "no Image header"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, tc.file)
			k, err := Identify(t.Context(), path)
			var bad *BadKernelError
			if !errors.As(err, &bad) || k != nil {
				t.Fatalf("got %+v, %v; want a BadKernelError", k, err)
			}
			if bad.Path != path || !strings.Contains(bad.Reason, tc.want) || strings.Contains(bad.Reason, "\n") {
				t.Errorf("error %q, want %q in it", err, tc.want)
			}
		})
	}
}

// truncatedImage has a PE header whose last section ends behind the file.
func truncatedImage() []byte {
	b := kerneltest.Image(make([]byte, 64)...)
	pe := make([]byte, 24+40)
	copy(pe, "PE\x00\x00\x64\xaa\x01\x00")
	copy(pe[24+16:], "\x00\x00\x10\x00")
	b[0x3c] = 0x40
	copy(b[0x40:], pe)
	return b
}

func TestIdentifyEndsWithItsContext(t *testing.T) {
	path := write(t, kerneltest.BzImage(pack(t, "gzip", kerneltest.Vmlinux())))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Identify(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestEmbeddedConfig(t *testing.T) {
	text := "# comment\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_HZ=250\nCONFIG_S=\"a \\\"b\\\"\"\n# CONFIG_N is not set\n"
	extra := append([]byte("IKCFG_ST"), append(pack(t, "gzip", []byte(text)), "IKCFG_ED"...)...)
	k, err := Identify(t.Context(), write(t, kerneltest.Vmlinux(extra...)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"CONFIG_A": "y", "CONFIG_B": "m", "CONFIG_HZ": "250", "CONFIG_S": `a "b"`, "CONFIG_N": "n", "CONFIG_UNHEARD": "n",
	} {
		if got := k.Config.Get(name); got != want {
			t.Errorf("Get(%s) = %q, want %q", name, got, want)
		}
	}
	if _, err := ParseConfig(strings.NewReader("int main(void)\n")); err == nil {
		t.Error("ParseConfig took a C file")
	}
}

func FuzzIdentify(f *testing.F) {
	elf, img := kerneltest.Vmlinux(), kerneltest.Image()
	for _, b := range [][]byte{
		elf, img, arm64ELF(img), kerneltest.BzImage(pack(f, "gzip", elf)), kerneltest.Zboot("gzip", pack(f, "gzip", img)),
		kerneltest.BzImage(kerneltest.Sized(pack(f, "zstd", elf), len(elf))), kerneltest.BzImage(kerneltest.Sized(pack(f, "lz4", elf), len(elf))),
		kerneltest.BzImage(kerneltest.Sized(testdata(f, "vmlinux.bcj-x86.xz"), len(elf))), truncatedImage(),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, payload, err := identify(t.Context(), "fuzz", b)
		if err != nil && (k != nil || payload != nil) {
			t.Error("an error and a value")
		}
		if err == nil && (k.Release == "" || !k.Arch.Valid()) {
			t.Errorf("incomplete kernel %+v", k)
		}
	})
}
