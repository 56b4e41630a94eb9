package kdump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kdump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const page = 4096

// kind is a way to compress, and its flag.
type kind struct {
	flag uint32
	pack func([]byte) []byte
}

var kinds = map[string]kind{
	"plain": {0, func(b []byte) []byte { return b }},
	"zlib": {1, func(b []byte) []byte {
		var out bytes.Buffer
		w := zlib.NewWriter(&out)
		_, _ = w.Write(b)
		w.Close()
		return out.Bytes()
	}},
	"lzo": {2, func(b []byte) []byte { // one literal run, and the end
		out := append(make([]byte, 16), page-18-15*255)
		return append(append(out, b...), 0x11, 0, 0)
	}},
	"snappy": {4, func(b []byte) []byte { return snappy.Encode(nil, b) }},
	"zstd": {0x20, func(b []byte) []byte {
		w, _ := zstd.NewWriter(nil)
		defer w.Close()
		return w.EncodeAll(b, nil)
	}},
}

// made is a dump of RAM at the pages 0 to 3 and 700, of which 2 was left out. Each page
// is full of its number.
func made(k kind) []byte {
	le := binary.LittleEndian
	b := make([]byte, 5*page)
	copy(b, "KDUMP   ")
	le.PutUint32(b[8:], 6)
	copy(b[272:], "aarch64")
	le.PutUint32(b[428:], page)
	le.PutUint32(b[432:], 1)
	le.PutUint32(b[436:], 2)
	notes := append(fake.Note("CORE", 1, make([]byte, 392)), fake.Note("VMCOREINFO", 0, []byte("OSRELEASE=6.1\n"))...)
	copy(b[page+1024:], notes)
	le.PutUint64(b[page+48:], page+1024)
	le.PutUint64(b[page+56:], uint64(len(notes)))
	le.PutUint64(b[page+96:], 701)
	for _, p := range []int{0, 1, 2, 3, 700} {
		b[2*page+p/8] |= 1 << (p % 8)
		if p != 2 {
			b[3*page+p/8] |= 1 << (p % 8)
		}
	}
	var data []byte
	at := 4*page + 4*24
	b = b[:at]
	for i, p := range []byte{0, 1, 3, 200} {
		raw := k.pack(bytes.Repeat([]byte{p}, page))
		d := b[4*page+24*i:]
		le.PutUint64(d, uint64(at+len(data)))
		le.PutUint32(d[8:], uint32(len(raw)))
		le.PutUint32(d[12:], k.flag)
		data = append(data, raw...)
	}
	return append(b, data...)
}

// flattened is a dump as makedumpfile -F and QEMU write it: in pieces, the headers
// twice, and holes left out.
func flattened(b []byte) []byte {
	be := binary.BigEndian
	out := make([]byte, page)
	copy(out, "makedumpfile\x00")
	put := func(at int64, data []byte) {
		out = be.AppendUint64(out, uint64(at))
		out = be.AppendUint64(out, uint64(len(data)))
		out = append(out, data...)
	}
	put(0, bytes.Repeat([]byte{0xff}, 464)) // to be written anew
	put(4*page, b[4*page:])
	for i := range 4 {
		if i > 0 {
			put(int64(i*page), b[i*page:i*page+3000])
		}
	}
	put(0, b[:464])
	end := int64(-1)
	out = be.AppendUint64(out, uint64(end))
	return be.AppendUint64(out, uint64(end))
}

func TestEveryForm(t *testing.T) {
	for name, k := range kinds {
		for form, file := range map[string][]byte{"as it is": made(k), "flattened": flattened(made(k))} {
			t.Run(name+" "+form, func(t *testing.T) {
				d, err := kdump.New(bytes.NewReader(file), int64(len(file)))
				if err != nil {
					t.Fatal(err)
				}
				if d.Arch != arch.AArch64 || len(d.VCPUs) != 1 || !d.VMCoreInfo {
					t.Errorf("%s, %d vCPUs, VMCOREINFO %v", d.Arch, len(d.VCPUs), d.VMCoreInfo)
				}
				if r := d.Ranges(); len(r) != 2 || r[0].Size != 4*page || r[1].Phys != 700*page || r[1].Size != page {
					t.Errorf("%+v", r)
				}
				got := make([]byte, 4)
				for at, want := range map[uint64]string{0: "\x00\x00\x00\x00", page - 2: "\x00\x00\x01\x01", 4*page - 4: "\x03\x03\x03\x03", 700*page + 9: "\xc8\xc8\xc8\xc8"} {
					if err := d.ReadPhys(at, got); err != nil || string(got) != want {
						t.Errorf("at %#x: %q, %v", at, got, err)
					}
				}
				for _, at := range []uint64{2 * page, 2*page - 1, 4*page - 1, 5 * page, 701 * page, 1<<64 - 1} {
					if err := d.ReadPhys(at, got); !errors.Is(err, physmem.ErrNoRAM) {
						t.Errorf("at %#x: %v", at, err)
					}
				}
			})
		}
	}
}

func TestErrors(t *testing.T) {
	good := made(kinds["zlib"])
	edit := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	flat := flattened(good)
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"empty":        {nil, "damaged"},
		"another arch": {edit(272, 'x'), "unwedge reads"},
		"odd blocks":   {edit(429, 0x11), "blocks of"},
		"no bitmap":    {edit(436, 0), "a bitmap of 0"},
		"half":         {good[:2*page], "bitmaps"},
		"flat, cut":    {flat[:len(flat)-20], "truncated"},
	} {
		d, err := kdump.New(bytes.NewReader(tt.file), int64(len(tt.file)))
		if d != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "vmcore")
	if err := os.WriteFile(path, flat, 0o600); err != nil {
		t.Fatal(err)
	}
	if !kdump.IsFile(path) || kdump.IsFile(filepath.Dir(path)) || kdump.IsFile("/dev/null") {
		t.Error("what is a dump was not told")
	}
}

// FuzzNew opens anything, and reads what it says is there.
func FuzzNew(f *testing.F) {
	for _, k := range kinds {
		f.Add(made(k))
		f.Add(flattened(made(k)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := kdump.New(bytes.NewReader(b), int64(len(b)))
		if (err == nil) == (d == nil) {
			t.Fatal("a dump and an error, or neither")
		}
		if err != nil {
			return
		}
		end := uint64(0)
		for _, r := range d.Ranges() {
			if r.Size == 0 || r.Phys < end || r.Phys+r.Size < r.Phys {
				t.Fatalf("%+v", d.Ranges())
			}
			end = r.Phys + r.Size
			_ = d.ReadPhys(r.Phys, make([]byte, 64)) // it may be damaged
		}
	})
}
