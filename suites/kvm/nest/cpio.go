package nest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/cavaliergopher/cpio"
)

// archive writes a cpio archive in the kernel's "newc" format, uncompressed: to unpack
// it under TCG would take longer than to read it
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	f   *os.File
	buf *bufio.Writer
	w   *cpio.Writer
}

func newArchive(path string) (*archive, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write root of the host: %w", err)
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	return &archive{f, buf, cpio.NewWriter(buf)}, nil
}

func (a *archive) close(err error) error {
	if err == nil {
		err = a.w.Close()
	}
	if err == nil {
		err = a.buf.Flush()
	}
	if err = errors.Join(err, a.f.Close()); err != nil {
		return fmt.Errorf("write root of the host: %w", err)
	}
	return nil
}

func (a *archive) dir(name string) error {
	return a.w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755, Links: 2})
}

func (a *archive) file(name string, mode cpio.FileMode, data []byte) error {
	h := &cpio.Header{Name: name, Mode: cpio.TypeReg | mode&cpio.ModePerm, Size: int64(len(data)), Links: 1}
	if err := a.w.WriteHeader(h); err != nil {
		return err
	}
	_, err := a.w.Write(data)
	return err
}

// tree adds a directory's directories, regular files and symbolic links.
func (a *archive) tree(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		switch info, err := d.Info(); {
		case err != nil:
			return err
		case d.IsDir():
			return a.dir(rel)
		case d.Type()&fs.ModeSymlink != 0:
			return a.link(rel, name)
		case d.Type().IsRegular():
			return a.copy(rel, name, info)
		default:
			return nil
		}
	})
}

func (a *archive) link(name, from string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	h := &cpio.Header{Name: path.Clean(name), Mode: cpio.TypeSymlink | 0o777, Linkname: target, Size: int64(len(target)), Links: 1}
	if err := a.w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.WriteString(a.w, target)
	return err
}

func (a *archive) copy(name, from string, info fs.FileInfo) error {
	// One link: the kernel would look for the data of a second one elsewhere.
	h := &cpio.Header{Name: name, Mode: cpio.TypeReg | cpio.FileMode(info.Mode().Perm()), Size: info.Size(), Links: 1}
	if err := a.w.WriteHeader(h); err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(a.w, f)
	return err
}
