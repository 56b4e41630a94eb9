package user

import (
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// Tree is a directory that the guest's root file system was made from. It is
// for one goroutine.
type Tree struct {
	root *os.Root
	open []*os.File
}

// OpenTree opens the directory. Nothing outside it is read, whatever paths the
// guest names.
func OpenTree(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the guest's files: %w", err)
	}
	return &Tree{root: root}, nil
}

// Close closes all files that Open gave.
func (t *Tree) Close() error {
	for _, f := range t.open {
		f.Close()
	}
	return t.root.Close()
}

// maxOpen bounds the files of a Tree.
const maxOpen = 256

// Open implements Files.
func (t *Tree) Open(buildID, path string) io.ReaderAt {
	name := strings.TrimLeft(path, "/")
	info, err := t.root.Stat(name)
	if err != nil || !info.Mode().IsRegular() || len(t.open) >= maxOpen {
		return nil
	}
	f, err := t.root.Open(name)
	if err != nil {
		return nil
	}
	if buildID == "" || buildIDOf(f) != buildID {
		f.Close()
		return nil
	}
	t.open = append(t.open, f)
	return f
}

// buildIDOf reads a file's build ID, "" where it has none.
func buildIDOf(r io.ReaderAt) string {
	f, err := elf.NewFile(r)
	if err != nil {
		return ""
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(p.Open(), 4<<10))
		for n := range elf64.ParseNotes(b) {
			if n.Name == "GNU" && n.Type == 3 { // NT_GNU_BUILD_ID
				return hex.EncodeToString(n.Desc)
			}
		}
	}
	return ""
}
