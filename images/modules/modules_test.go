package modules_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/unwedge/unwedge/images/modules"
)

// module is an ELF file with nothing but a .modinfo section.
func module(depends string) []byte {
	return elfWith([]byte("license=GPL\x00depends="+depends+"\x00name=x\x00"), 0)
}

func elfWith(modinfo []byte, flags elf.SectionFlag) []byte {
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	const head, shent = 64, 64
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: head, Shentsize: shent, Shnum: 3, Shstrndx: 2,
		Shoff: uint64(head + len(modinfo) + len(names)),
	}
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Flags: uint64(flags), Off: head, Size: uint64(len(modinfo)), Addralign: 1},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(head + len(modinfo)), Size: uint64(len(names)), Addralign: 1},
	}
	var b bytes.Buffer
	for _, part := range []any{h, modinfo, names, sections} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// tree writes a lib/modules/RELEASE directory.
func tree(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, dir string, names ...string) (got, missing []string, err error) {
	t.Helper()
	set, err := modules.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	mods, missing, err := set.Load(names...)
	for _, m := range mods {
		got = append(got, m.Name)
		if _, err := set.Read(m); err != nil {
			t.Errorf("read %s: %v", m.Path, err)
		}
	}
	return got, missing, err
}

func packed(t *testing.T, kind string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	switch kind {
	case ".gz":
		w := gzip.NewWriter(&out)
		_, err = w.Write(b)
		err = first(err, w.Close())
	case ".xz":
		w, werr := xz.NewWriter(&out)
		if werr != nil {
			t.Fatal(werr)
		}
		_, err = w.Write(b)
		err = first(err, w.Close())
	case ".zst":
		w, werr := zstd.NewWriter(&out)
		if werr != nil {
			t.Fatal(werr)
		}
		_, err = w.Write(b)
		err = first(err, w.Close())
	default:
		return b
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// The order and the names are what `modprobe --show-depends` gives for such a
// tree.
func TestLoad(t *testing.T) {
	for _, kind := range []string{"", ".gz", ".xz", ".zst"} {
		for _, dep := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s dep=%v", kind, dep), func(t *testing.T) {
				ko := func(depends string) []byte { return packed(t, kind, module(depends)) }
				files := map[string][]byte{
					"kernel/drivers/virtio/virtio-rng.ko" + kind:  ko("rng-core,virtio_pci"),
					"kernel/drivers/virtio/virtio_pci.ko" + kind:  ko("virtio_ring"),
					"kernel/drivers/virtio/virtio_ring.ko" + kind: ko(""),
					"kernel/drivers/char/rng-core.ko" + kind:      ko(""),
					"kernel/unrelated.ko" + kind:                  ko("nothing"),
					"kernel/readme.txt":                           nil,
					"modules.builtin":                             []byte("kernel/drivers/virtio/virtio.ko\nkernel/lib/crc-32.ko\n\n"),
				}
				if dep {
					v := "kernel/drivers/virtio/"
					files["modules.dep"] = []byte(v + "virtio-rng.ko" + kind + ": " + v + "virtio_pci.ko" + kind + " " + v + "virtio_ring.ko" + kind + " kernel/drivers/char/rng-core.ko" + kind + "\n" +
						v + "virtio_pci.ko" + kind + ": " + v + "virtio_ring.ko" + kind + "\n" + v + "virtio_ring.ko" + kind + ":\n")
				}
				dir := tree(t, files)
				got, missing, err := load(t, dir, "virtio-rng", "virtio_rng", "virtio", "crc_32", "nowhere", "rng_core")
				if err != nil || !slices.Equal(missing, []string{"nowhere"}) {
					t.Errorf("missing %v, %v", missing, err)
				}
				if len(got) != 4 || got[3] != "virtio_rng" || slices.Index(got, "virtio_ring") > slices.Index(got, "virtio_pci") || !slices.Contains(got, "rng_core") {
					t.Errorf("load %v: want what virtio_rng needs before it, each once", got)
				}
			})
		}
	}
}

func TestOddTrees(t *testing.T) {
	deep := map[string][]byte{}
	for i := range 100 {
		deep[fmt.Sprintf("kernel/m%d.ko", i)] = module(fmt.Sprintf("m%d", i+1))
	}
	for _, tt := range []struct {
		name    string
		files   map[string][]byte
		load    string
		want    []string
		missing []string
		err     string
	}{
		{name: "no such module", files: nil, load: "a", missing: []string{"a"}},
		{name: "needs itself", files: map[string][]byte{"a.ko": module("a")}, load: "a", want: []string{"a"}},
		{name: "cycle", files: map[string][]byte{"a.ko": module("b"), "b.ko": module("a")}, load: "a", want: []string{"b", "a"}},
		{name: "cycle in modules.dep", files: map[string][]byte{"a.ko": nil, "b.ko": nil, "modules.dep": []byte("a.ko: b.ko\nb.ko: a.ko\n")}, load: "a", want: []string{"b", "a"}},
		{name: "depends on what is not there", files: map[string][]byte{"a.ko": module("b")}, load: "a", want: []string{"a"}, missing: []string{"b"}},
		{name: "modules.dep names what is not there", files: map[string][]byte{"a.ko": nil, "modules.dep": []byte("a.ko: ../../../etc/b.ko c /etc/passwd\n\n:\ngarbage\n")}, load: "a", want: []string{"a"}, missing: []string{"b"}},
		{name: "too deep", files: deep, load: "m0", err: "deeper than 64"},
		{name: "not ELF", files: map[string][]byte{"a.ko": []byte("garbage")}, load: "a", err: "is not an ELF file"},
		{name: "empty", files: map[string][]byte{"a.ko": nil}, load: "a", err: "is not an ELF file"},
		{name: "torn gzip", files: map[string][]byte{"a.ko.gz": packed(t, ".gz", module(""))[:40]}, load: "a", err: "unpack module a.ko.gz"},
		{name: "torn xz", files: map[string][]byte{"a.ko.xz": packed(t, ".xz", module(""))[:80]}, load: "a", err: "unpack module a.ko.xz"},
		{name: "a modules.dep of one endless line", files: map[string][]byte{"modules.dep": bytes.Repeat([]byte("x"), 2<<20)}, load: "a", err: "modules.dep"},
		{name: "a .modinfo that unpacks to gigabytes", files: map[string][]byte{"a.ko": bomb(t)}, load: "a", err: ".modinfo has"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, tt.files)
			got, missing, err := load(t, dir, tt.load)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) || !slices.Equal(missing, tt.missing) {
				t.Errorf("load %v, missing %v, %v; want %v, %v", got, missing, err, tt.want, tt.missing)
			}
		})
	}
}

// bomb is a module whose .modinfo says that it unpacks to 8 GiB.
func bomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, elf.Chdr64{Type: uint32(elf.COMPRESS_ZLIB), Size: 8 << 30, Addralign: 1}); err != nil {
		t.Fatal(err)
	}
	w := zlib.NewWriter(&b)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return elfWith(b.Bytes(), elf.SHF_COMPRESSED)
}

// Whoever made the directory may have put there what never ends.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.ko"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero.ko")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.ko")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "zero", "dangling"} {
		if _, _, err := load(t, dir, name); err == nil || !strings.Contains(err.Error(), name+".ko") {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "modules.dep"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := modules.Open(dir); err != nil {
		t.Errorf("a modules.dep that is an empty pipe: %v", err)
	}
	if _, err := modules.Open(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("no error for a directory that is not there")
	}
}
