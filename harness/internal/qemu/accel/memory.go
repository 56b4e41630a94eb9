package accel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// identity is everything that an answer depends on. Answers to different identities
// are in different files, so that two probes at once cannot harm each other.
type identity struct {
	Boot   string    `json:"boot"` // the host's boot id, random(4)
	Arch   arch.Arch `json:"arch"`
	QEMU   string    `json:"qemu"` // its path
	Text   string    `json:"version"`
	CPU    string    `json:"cpu"`
	Inode  uint64    `json:"kvm_inode"`
	Device uint64    `json:"kvm_device"`
	MTime  int64     `json:"kvm_mtime_ns"`
	// Guest is the hash of the test guest: a better one asks again.
	Guest string `json:"guest"`
}

// note is the file's content.
type note struct {
	identity
	Name   string   `json:"accel"`
	Reason string   `json:"reason"`
	Lacks  []string `json:"lacks,omitempty"`
}

func identify(a arch.Arch, qemuPath string, v qemu.VersionInfo, o Options) (identity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, fmt.Errorf("read boot id: %w", err)
	}
	st, err := os.Stat(o.Device)
	if err != nil {
		return identity{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, fmt.Errorf("stat %s: not a Unix file", o.Device)
	}
	g, err := guestFor(a)
	if err != nil {
		return identity{}, err
	}
	hash := sha256.Sum256(g.Code())
	return identity{
		Boot: strings.TrimSpace(string(boot)), Arch: a, QEMU: qemuPath, Text: v.Text, CPU: o.CPU,
		Inode: sys.Ino, Device: sys.Rdev, MTime: st.ModTime().UnixNano(), Guest: hex.EncodeToString(hash[:8]),
	}, nil
}

const notePrefix, noteSuffix = "accel-", ".json"

func (id identity) file() (string, error) {
	b, err := json.Marshal(id)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(b)
	return notePrefix + hex.EncodeToString(hash[:8]) + noteSuffix, nil
}

// recall reads a remembered answer. A file that cannot be read, or does not
// say what it should, is as good as none.
func recall(dir string, id identity) (Accel, bool) {
	name, err := id.file()
	if dir == "" || err != nil {
		return Accel{}, false
	}
	n, err := readNote(filepath.Join(dir, name))
	if err != nil || n.identity != id || n.Name != KVM && n.Name != TCG || n.Reason == "" {
		return Accel{}, false
	}
	return Accel{Name: n.Name, Reason: n.Reason, Proven: n.Name == KVM, Remembered: true, Lacks: n.Lacks}, true
}

func readNote(path string) (note, error) {
	f, err := os.Open(path)
	if err != nil {
		return note{}, err
	}
	defer f.Close() // read only
	var n note
	err = json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&n)
	return n, err
}

// remember writes the answer, whole or not at all, and removes those of
// earlier boots.
func remember(dir string, id identity, a Accel) (err error) {
	if dir == "" {
		return nil
	}
	name, err := id.file()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(note{id, a.Name, a.Reason, a.Lacks}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".accel-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	forget(dir, id.Boot)
	return nil
}

// forget removes the answers of other boots; what it cannot remove it leaves.
func forget(dir, boot string) {
	paths, err := filepath.Glob(filepath.Join(dir, notePrefix+"*"+noteSuffix))
	if err != nil {
		return
	}
	for _, path := range paths {
		if n, err := readNote(path); err == nil && n.Boot != boot {
			_ = os.Remove(path)
		}
	}
}
