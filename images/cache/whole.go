package cache

import (
	"encoding/json"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// checksum is how a file was when its entry was made.
type checksum struct {
	Size int64 `json:"size"`
	// CRC is its CRC-32C, 0 for a file of more than maxChecked bytes. It finds what broke
	// by itself, and costs some milliseconds a boot.
	CRC uint32 `json:"crc,omitempty"`
}

// The bounds of what is checked each time that an entry is used: images, not unpacked
// packages with thousands of files.
const (
	maxFiles   = 16
	maxChecked = 128 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksums are those of an entry's files, nil where it has too many.
func checksums(dir string) (map[string]checksum, error) {
	out := map[string]checksum{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == infoName {
			return err
		}
		if len(out) > maxFiles {
			return filepath.SkipAll
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		out[name], err = sum(path)
		return err
	})
	if err != nil || len(out) > maxFiles {
		return nil, err
	}
	return out, nil
}

func sum(path string) (checksum, error) {
	f, err := os.Open(path)
	if err != nil {
		return checksum{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return checksum{}, err
	}
	if st.Size() > maxChecked {
		return checksum{Size: st.Size()}, nil
	}
	h := crc32.New(castagnoli)
	n, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return checksum{Size: n, CRC: h.Sum32()}, err
}

// whole says that an entry is there, and its files are as they were made.
func whole(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, infoName))
	if err != nil {
		return false
	}
	var in info
	if json.Unmarshal(b, &in) != nil {
		return false
	}
	for name, want := range in.Files {
		if got, err := sum(filepath.Join(dir, name)); err != nil || got != want {
			return false
		}
	}
	return true
}
