// Package bundle packs a run into one file that boots the same guest elsewhere, and
// unpacks such a file, whoever made it. A bundle is a tar archive, compressed with zstd,
// of one folder with plain files: a run's directory (package rundir) whose result.json
// names its files without a path, a manifest, and a qemu.sh that needs QEMU alone.
package bundle

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/result"
)

// Schema is the version of the manifest.
const Schema = "unwedge/bundle/1"

// ManifestName is the manifest's file, the first of the archive.
const ManifestName = "manifest.json"

// kernelName is the file of the kernel that was named; the one that QEMU was given, where
// that is another, is named by its role.
const kernelName = "kernel"

// Manifest lists what is in a bundle.
type Manifest struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Files are the other files, in the archive's order.
	Files []File `json:"files"`
}

// File is one file of a bundle.
type File struct {
	// Name is its name in the folder.
	Name string `json:"name"`
	// Holds says what it is to the guest, or what it tells.
	Holds string `json:"holds"`
	// Size is its size in bytes, unpacked.
	Size int64 `json:"size"`
	// SHA256 is its checksum in lower-case hex.
	SHA256 string `json:"sha256"`
	// Absent says that it is not in the archive: whoever boots the bundle must have it.
	Absent bool `json:"absent,omitempty"`

	path string // where it is on this host
	text []byte // what it holds where it has no path
}

// Absent are the files that are known by their checksum alone.
func (m Manifest) Absent() []File {
	var out []File
	for _, f := range m.Files {
		if f.Absent {
			out = append(out, f)
		}
	}
	return out
}

// Text says in a line how large the files are.
func (m Manifest) Text() string {
	var in, out []string
	for _, f := range m.Files {
		said := fmt.Sprintf("%s %s", f.Name, Size(f.Size))
		if f.Absent {
			out = append(out, said)
			continue
		}
		in = append(in, said)
	}
	text := strings.Join(in, ", ")
	if len(out) > 0 {
		text += "; by checksum alone: " + strings.Join(out, ", ") + " (--whole packs it)"
	}
	return text
}

// Size is a number of bytes for people.
func Size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// Limits bound what is packed and unpacked.
type Limits struct {
	// Bytes are those of all files, unpacked.
	Bytes int64
}

// maxFiles bounds how many files a bundle has.
const maxFiles = 64

// plainName is a name that a bundle's file may have.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._+-]{0,79}$`)

// stamped is the time of all files in an archive: the boot's, so that a run always gives
// the same bytes.
func stamped(r *result.Result) time.Time { return r.Times.Started.UTC().Truncate(time.Second) }

// Case is a run that can be booted again: from its own directory or from a bundle.
type Case struct {
	// Dir is where its files are.
	Dir string
	// Result is what it showed.
	Result *result.Result
	// Machine is the guest's, with files of this host.
	Machine machine.Spec
	// Kernel is the file of the kernel that was named; "" where a disk brings its own.
	Kernel string
	// Foreign says that somebody else may have made it.
	Foreign bool
	// Absent are the files that are not in it, by their path in Machine.
	Absent map[string]File
}
