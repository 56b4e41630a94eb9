package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// checkInitramfs makes sure that dracut, which goes on after many errors, put
// everything in that the boot relies on.
func checkInitramfs(name string, k Kernel, args []string) error {
	if err := fileWithData(name); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	want := map[string]bool{
		"init": true, "usr/lib/systemd/systemd": true, "usr/bin/udevadm": true,
		"usr/lib/modules/" + k.Release + "/modules.dep": true,
	}
	libs := []string{"libgcrypt.so.20", "libc.so.6"}
	if slices.ContainsFunc(args, func(a string) bool { return slices.Contains(strings.Fields(a), "fips") }) {
		for _, p := range []string{"etc/system-fips", "etc/fipsmodules", "usr/sbin/fips.sh", "usr/bin/sha512hmac"} {
			want[p] = true
		}
	}
	r := cpio.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read dracut's image: %w", err)
		}
		delete(want, h.Name)
		libs = slices.DeleteFunc(libs, func(l string) bool { return l == path.Base(h.Name) })
	}
	for p := range want {
		return fmt.Errorf("dracut left out %s", p)
	}
	if len(libs) > 0 {
		return fmt.Errorf("dracut left out %s", libs[0])
	}
	return nil
}

// archive writes a cpio archive in the kernel's "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	buf  bytes.Buffer
	w    *cpio.Writer
	dirs map[string]bool
	err  error
}

func newArchive() *archive {
	a := &archive{dirs: map[string]bool{".": true}}
	a.w = cpio.NewWriter(&a.buf)
	return a
}

func (a *archive) add(h *cpio.Header, data []byte) {
	if a.err != nil {
		return
	}
	if a.err = a.w.WriteHeader(h); a.err == nil {
		_, a.err = a.w.Write(data)
	}
}

func (a *archive) dir(name string) {
	if a.dirs[name] {
		return
	}
	a.dir(path.Dir(name))
	a.dirs[name] = true
	a.add(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755, Links: 2}, nil)
}

func (a *archive) file(name string, mode cpio.FileMode, data []byte) {
	a.dir(path.Dir(name))
	a.add(&cpio.Header{Name: name, Mode: cpio.TypeReg | mode, Size: int64(len(data)), Links: 1}, data)
}

func (a *archive) link(name, target string) {
	a.dir(path.Dir(name))
	a.add(&cpio.Header{Name: name, Mode: cpio.TypeSymlink | 0o777, Linkname: target, Size: int64(len(target)), Links: 1}, []byte(target))
}

func (a *archive) bytes() ([]byte, error) {
	if a.err == nil {
		a.err = a.w.Close()
	}
	if a.err != nil {
		return nil, fmt.Errorf("write cpio archive: %w", a.err)
	}
	// Archives that follow one another start on a multiple of four bytes.
	for a.buf.Len()%512 != 0 {
		a.buf.WriteByte(0)
	}
	return a.buf.Bytes(), nil
}
