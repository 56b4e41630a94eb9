package oracle

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/isa"
)

// ErrNoVMCoreInfo says that the guest's memory holds no VMCOREINFO note: the kernel
// writes it in a subsys_initcall (kernel/crash_core.c, crash_save_vmcoreinfo_init).
var ErrNoVMCoreInfo = errors.New("the guest's memory holds no VMCOREINFO note: the kernel had not got that far")

// noteMark is the name of the note and the beginning of its text; its header of
// three words stands before.
const (
	noteMark = "VMCOREINFO\x00\x00OSRELEASE="
	noteText = len("VMCOREINFO\x00\x00")
	noteHead = 12
	maxNote  = 64 << 10
)

// FindVMCoreInfo looks for the text of the note that the guest's kernel made for
// its crash dumps.
func FindVMCoreInfo(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const chunk = 4 << 20
	for r := bufio.NewReaderSize(f, chunk); ; {
		b, err := r.Peek(chunk)
		skip := len(b) - noteHead - len(noteMark) // a note may begin at the end
		if i := bytes.Index(b, []byte(noteMark)); i >= noteHead {
			if _, err := r.Discard(i - noteHead); err != nil {
				return "", err
			}
			if b, err = r.Peek(noteHead + noteText + maxNote); len(b) < noteHead+len(noteMark) {
				return "", fmt.Errorf("read %s: %w", path, err)
			}
			if text, ok := noteAt(b); ok {
				return text, nil
			}
			skip = noteHead + 1 // something else
		} else if errors.Is(err, io.EOF) {
			return "", ErrNoVMCoreInfo
		} else if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		if _, err := r.Discard(skip); err != nil {
			return "", err
		}
	}
}

// noteAt returns the text of the note at the beginning of b.
func noteAt(b []byte) (string, bool) {
	name, size, typ := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	b = b[noteHead+noteText:]
	if int(name) != noteText-1 || typ != 0 || size == 0 || uint64(size) > uint64(len(b)) {
		return "", false
	}
	return string(b[:size]), true
}

// pageTables says where the kernel's top page table is.
func pageTables(machine elf.Machine, text string) (virt, phys uint64, err error) {
	number := func(key string) (n uint64) {
		for line := range strings.Lines(text) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
				base := 0
				if strings.HasPrefix(key, "SYMBOL") {
					base = 16
				}
				if n, err = strconv.ParseUint(v, base, 64); err != nil {
					var i int64
					i, err = strconv.ParseInt(v, base, 64)
					n = uint64(i)
				}
				return n
			}
		}
		err = fmt.Errorf("the VMCOREINFO note has no %s", key)
		return 0
	}
	virt = number("SYMBOL(swapper_pg_dir)")
	if err != nil {
		return 0, 0, err
	}
	i := isa.ByMachine(machine)
	if i == nil {
		return 0, 0, fmt.Errorf("unknown guest architecture %s", machine)
	}
	phys = i.TopTable(virt, number)
	return virt, phys, err
}

const (
	phdrSize = 56
	pageSize = 4096
	// nowhere is where the segments go that have no virtual address: it is in no
	// address space. QEMU gives them all address 0, or their physical one, and
	// drgn takes that for what the kernel has there.
	nowhere = 1 << 48
)

// Help changes a dump of QEMU's so that drgn opens it: adds the VMCOREINFO note
// with the given text, and the page with the kernel's top page table as a segment
// at its virtual address, from which drgn finds all else. Memory stays as it is.
func Help(path, text string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("help drgn with %s: %w", path, err)
	}
	virt, phys, err := pageTables(e.Machine, text)
	if err != nil {
		return err
	}
	var notes []byte
	table := elf.ProgHeader{Type: elf.PT_LOAD}
	loads := []elf.ProgHeader{}
	for _, p := range e.Progs {
		switch p.Type {
		case elf.PT_NOTE:
			b, err := io.ReadAll(p.Open())
			if err != nil {
				return fmt.Errorf("help drgn with %s: %w", path, err)
			}
			notes = append(notes, b...)
		case elf.PT_LOAD:
			if phys >= p.Paddr && phys-p.Paddr+pageSize <= p.Filesz {
				table.Off = p.Off + phys - p.Paddr
			}
			h := p.ProgHeader
			h.Vaddr = nowhere + h.Paddr
			loads = append(loads, h)
		}
	}
	if table.Off == 0 {
		return fmt.Errorf("help drgn with %s: the page table at physical %#x is not in it", path, phys)
	}
	table.Vaddr, table.Paddr, table.Filesz, table.Memsz = virt, phys, pageSize, pageSize
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	pad := -end & 7
	notes = append(notes, note(text)...)
	notes = append(notes, make([]byte, -len(notes)&7)...)
	noteHeader := elf.ProgHeader{Type: elf.PT_NOTE, Off: uint64(end + pad), Filesz: uint64(len(notes)), Memsz: uint64(len(notes))}
	headers := append([]elf.ProgHeader{noteHeader}, append(loads, table)...)
	out := append(make([]byte, pad), notes...)
	at := uint64(end) + uint64(len(out))
	for _, h := range headers {
		out = append(out, header(h)...)
	}
	if _, err := f.WriteAt(out, end); err != nil {
		return err
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, at), 32); err != nil { // e_phoff
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint16(nil, uint16(len(headers))), 56) // e_phnum
	return errors.Join(err, f.Close())
}

func note(text string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(noteText-1))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(binary.LittleEndian.AppendUint32(b, 0), noteMark[:noteText]...)
	b = append(b, text...)
	return append(b, make([]byte, -len(b)&3)...)
}

func header(h elf.ProgHeader) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(h.Type))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.Flags))
	for _, v := range []uint64{h.Off, h.Vaddr, h.Paddr, h.Filesz, h.Memsz, h.Align} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}
