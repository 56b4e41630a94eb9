package candidate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/progress"
)

// Bounds on what a package may unpack to. The largest Debian kernel has some
// 4,500 modules in 450 MB; a debug build is ten times that.
const (
	maxMember  = 1 << 30
	maxTotal   = 8 << 30
	maxMembers = 200_000
)

// unpacker writes the members of a package that a kernel needs below one
// directory, and refuses every member that no honest kernel package has.
// Through os.Root nothing can be written outside, whatever links say.
type unpacker struct {
	root    *os.Root
	archive string // named in errors
	task    progress.Task
	total   int64
	members int
	only    string // the one file that is wanted; "" means what a kernel needs
	all     bool   // everything is wanted, and what can be run stays so

	// tree: a root file system is unpacked, with merged /usr; what the expression
	// matches, by its absolute path, is left out.
	tree     bool
	excluded *regexp.Regexp
}

func newUnpacker(dir string) (*unpacker, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("unpack package: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("unpack package: %w", err)
	}
	return &unpacker{root: root}, nil
}

func (u *unpacker) Close() error { return u.root.Close() }

// bad is the error for a member; member is "" for the archive as a whole.
func (u *unpacker) bad(member, reason string, cause error) error {
	return &PackageError{Path: u.archive, Member: member, Reason: reason, Err: cause}
}

// corrupt is the error for a stream that cannot be read.
func (u *unpacker) corrupt(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return u.bad("", "truncated or corrupt package: it ends too early", err)
	}
	return u.bad("", "corrupt package: "+err.Error(), err)
}

// member is one entry of an archive.
type member struct {
	name string // as the archive has it
	mode fs.FileMode
	size int64
	link string // target of a symbolic link
	hard string // member that a hard link repeats
}

// add checks a member and writes it if the kernel needs it.
func (u *unpacker) add(m member, r io.Reader) error {
	if u.members++; u.members > maxMembers {
		return u.bad("", fmt.Sprintf("more than %d members", maxMembers), nil)
	}
	name, err := u.clean(m.name, m.name)
	if err != nil {
		return err
	}
	switch m.mode.Type() {
	case 0:
		return u.addFile(m, name, r)
	case fs.ModeDir:
		return u.addDir(m, name)
	case fs.ModeSymlink:
		return u.addLink(m, name)
	default:
		return u.bad(m.name, "a device, pipe or socket: a kernel package has none", nil)
	}
}

// clean makes an archive's name relative to the root, with usr/lib/modules
// put at lib/modules, where older packages have them.
func (u *unpacker) clean(name, member string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", u.bad(member, "its name has a NUL byte", nil)
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", u.bad(member, "its path leaves the archive (..)", nil)
	}
	if strings.HasPrefix(name, "/") {
		return "", u.bad(member, "its path is absolute", nil)
	}
	return u.place(path.Clean(name)), nil
}

func (u *unpacker) place(name string) string {
	if u.tree {
		return merged(name)
	}
	if rest, ok := strings.CutPrefix(name, "usr/lib/modules"); ok && (rest == "" || rest[0] == '/') {
		return "lib/modules" + rest
	}
	return name
}

func (u *unpacker) wanted(name string) bool {
	if u.only != "" {
		return name == u.only
	}
	if u.tree {
		return u.excluded == nil || !u.excluded.MatchString("/"+name)
	}
	return u.all || strings.HasPrefix(name, "boot/") || strings.HasPrefix(name, "lib/modules/")
}

func (u *unpacker) addDir(m member, name string) error {
	if !u.wanted(name) {
		return nil
	}
	if err := u.root.MkdirAll(name, 0o755); err != nil || !u.tree {
		return u.wrap(m, err)
	}
	// The owner can always write: packages after this one may.
	return u.wrap(m, u.root.Chmod(name, m.mode&(fs.ModePerm|fs.ModeSticky)|0o700))
}

func (u *unpacker) addFile(m member, name string, r io.Reader) error {
	if m.size > maxMember {
		return u.bad(m.name, fmt.Sprintf("claims %d MiB, the limit for a file is %d MiB", m.size>>20, maxMember>>20), nil)
	}
	if u.total += m.size; u.total > maxTotal {
		return u.bad(m.name, fmt.Sprintf("the package unpacks to more than %d GiB", maxTotal>>30), nil)
	}
	if !u.wanted(name) {
		return nil
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return u.wrap(m, err)
	}
	_ = u.root.Remove(name) // two packages may bring one file; never write through a link
	if m.hard != "" {
		target, err := u.clean(m.hard, m.name)
		if err != nil {
			return err
		}
		return u.wrap(m, u.root.Link(target, name))
	}
	perm := fs.FileMode(0o644)
	switch {
	case u.tree:
		perm = m.mode.Perm() | 0o400
	case u.all && m.mode&0o100 != 0:
		perm = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return u.wrap(m, err)
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(r, m.size))
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) { // the disk, not the package
			return fmt.Errorf("unpack package: %w", err)
		}
		return u.corrupt(err)
	}
	if n != m.size {
		return u.corrupt(io.ErrUnexpectedEOF)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("unpack package: %w", err)
	}
	return nil
}

func (u *unpacker) addLink(m member, name string) error {
	if base := path.Base(name); strings.HasPrefix(name, "lib/modules/") && (base == "build" || base == "source") {
		return nil // to the headers, wherever those are
	}
	if u.tree && slices.Contains(usrDirs, path.Clean(m.name)) {
		return nil // mergeUsr has made it
	}
	if path.IsAbs(m.link) && u.tree {
		return u.writeLink(m, name, m.link) // nothing is ever written through it
	}
	if path.IsAbs(m.link) {
		return u.bad(m.name, fmt.Sprintf("an absolute link to %q", m.link), nil)
	}
	target := path.Join(path.Dir(path.Clean(m.name)), m.link)
	if target == ".." || strings.HasPrefix(target, "../") {
		return u.bad(m.name, fmt.Sprintf("a link that leaves the archive, to %q", m.link), nil)
	}
	rel, err := filepath.Rel(path.Dir(name), u.place(target)) // both may have moved
	if err != nil {
		return u.wrap(m, err)
	}
	return u.writeLink(m, name, rel)
}

func (u *unpacker) writeLink(m member, name, target string) error {
	if !u.wanted(name) {
		return nil
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return u.wrap(m, err)
	}
	_ = u.root.Remove(name)
	return u.wrap(m, u.root.Symlink(target, name))
}

func (u *unpacker) wrap(m member, err error) error {
	if err == nil {
		return nil
	}
	return u.bad(m.name, "cannot be unpacked: "+err.Error(), err)
}
