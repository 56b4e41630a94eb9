// Package tiny makes the smallest initramfs that can say how far a boot came:
// the guest agent as /init, busybox for a person, and the modules asked for.
package tiny

import (
	"bytes"
	"fmt"
	"path"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/images/modules"
)

// Options say what goes in.
type Options struct {
	// Agent is the static guest agent for the guest's architecture.
	Agent []byte
	// Busybox is a static busybox for it; nil leaves it out.
	Busybox []byte
	// Modules are loaded by the agent in this order.
	Modules []Module
	// Release is the kernel's, the directory below /lib/modules.
	Release string
	// Files are further files, by absolute path.
	Files map[string][]byte
}

// Module is one module, unpacked: the kernel need not be able to unpack it.
type Module struct {
	Path string // below /lib/modules/RELEASE
	Data []byte
}

// Collect reads the named modules and what they need, in load order. missing
// lists those the kernel does not have.
func Collect(set *modules.Set, names []string) (mods []Module, missing []string, err error) {
	load, missing, err := set.Load(names...)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range load {
		b, err := set.Read(m)
		if err != nil {
			return nil, nil, err
		}
		mods = append(mods, Module{Path: trimCompression(m.Path), Data: b})
	}
	return mods, missing, nil
}

func trimCompression(p string) string {
	if ext := path.Ext(p); ext != ".ko" {
		return p[:len(p)-len(ext)]
	}
	return p
}

// Build returns the initramfs as an uncompressed cpio archive in the "newc"
// format (Documentation/driver-api/early-userspace/buffer-format.rst). The
// same options give the same bytes.
func Build(o Options) ([]byte, error) {
	a := archive{}
	a.w = cpio.NewWriter(&a.buf)
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "bin", "etc", "etc/unwedge", "root"} {
		a.dir(d)
	}
	// /dev/console, which the kernel opens before /init can mount devtmpfs, is
	// in the archive that every kernel carries (usr/default_cpio_list).
	a.file("init", 0o755, o.Agent)
	if o.Busybox != nil {
		a.file("bin/busybox", 0o755, o.Busybox)
		a.add(&cpio.Header{Name: "bin/sh", Mode: cpio.TypeSymlink | 0o777, Linkname: "busybox", Size: 7}, []byte("busybox"))
	}
	a.modules(o)
	for _, name := range sorted(o.Files) {
		a.parents(name)
		a.file(name[1:], 0o644, o.Files[name])
	}
	if a.err == nil {
		a.err = a.w.Close()
	}
	if a.err != nil {
		return nil, fmt.Errorf("make tiny initramfs: %w", a.err)
	}
	return a.buf.Bytes(), nil
}

// archive writes members until the first error, which it keeps.
type archive struct {
	buf  bytes.Buffer
	w    *cpio.Writer
	err  error
	dirs map[string]bool
}

func (a *archive) add(h *cpio.Header, data []byte) {
	if a.err != nil {
		return
	}
	h.Links = 1
	if a.err = a.w.WriteHeader(h); a.err == nil {
		_, a.err = a.w.Write(data)
	}
}

func (a *archive) dir(name string) {
	if a.dirs[name] {
		return
	}
	if a.dirs == nil {
		a.dirs = map[string]bool{}
	}
	a.dirs[name] = true
	a.add(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755}, nil)
}

// parents makes the directories above an absolute path.
func (a *archive) parents(name string) {
	for i := 1; i < len(name); i++ {
		if name[i] == '/' {
			a.dir(name[1:i])
		}
	}
}

func (a *archive) file(name string, mode cpio.FileMode, data []byte) {
	a.add(&cpio.Header{Name: name, Mode: cpio.TypeReg | mode, Size: int64(len(data))}, data)
}

func (a *archive) modules(o Options) {
	var list bytes.Buffer
	for _, m := range o.Modules {
		p := path.Join("/lib/modules", o.Release, m.Path)
		a.parents(p)
		a.file(p[1:], 0o644, m.Data)
		fmt.Fprintln(&list, p)
	}
	a.file("etc/unwedge/modules", 0o644, list.Bytes())
}
