package guestmem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
)

// Running is the kernel that a guest runs, by its own words in memory.
type Running struct{ Release, BuildID string }

// ErrNoKernel says that no kernel has described itself in the guest's memory: none runs
// yet, or it was built without CONFIG_VMCORE_INFO (CONFIG_CRASH_CORE before 6.9).
var ErrNoKernel = errors.New("no kernel describes itself in memory")

const (
	// The kernel fills one whole page with its VMCOREINFO (kernel/vmcore_info.c,
	// crash_save_vmcoreinfo_init); 4 KiB is the smallest page.
	infoPage = 4096
	// The build ID is there since 5.9 (kernel commit 0935288c6e00).
	infoFirst = "OSRELEASE="
	readAhead = 4 << 20
)

var (
	infoRelease = regexp.MustCompile(`^OSRELEASE=([[:graph:]]{1,64})\n`)
	infoBuildID = regexp.MustCompile(`\nBUILD-ID=([0-9a-f]{16,128})\n`)
	// infoMore is in every kernel's, and in no text that only begins alike.
	infoMore = []byte("\nPAGESIZE=")
)

// RunningKernel finds out which kernel runs, without knowing anything of it. Where
// memory has several, such as that of a kernel before a kexec, none is named.
func RunningKernel(ctx context.Context, m physmem.Reader) (Running, error) {
	var found []Running
	buf := make([]byte, readAhead)
	for _, r := range m.Ranges() {
		for at := r.Phys; at < r.Phys+r.Size; at += readAhead {
			if ctx.Err() != nil {
				return Running{}, context.Cause(ctx)
			}
			b := buf[:min(readAhead, r.Phys+r.Size-at)]
			if err := m.ReadPhys(at, b); err != nil {
				return Running{}, err
			}
			for page := b; len(page) > len(infoFirst); page = page[min(infoPage, len(page)):] {
				if k, ok := describes(page[:min(infoPage, len(page))]); ok && !contains(found, k) {
					found = append(found, k)
				}
			}
		}
	}
	switch len(found) {
	case 0:
		return Running{}, ErrNoKernel
	case 1:
		return found[0], nil
	default:
		return Running{}, fmt.Errorf("%d kernels describe themselves in memory", len(found))
	}
}

func contains(all []Running, k Running) bool {
	for _, a := range all {
		if a == k {
			return true
		}
	}
	return false
}

// describes reads a page that begins with a kernel's VMCOREINFO.
func describes(page []byte) (k Running, ok bool) {
	if !bytes.HasPrefix(page, []byte(infoFirst)) || !bytes.Contains(page, infoMore) {
		return k, false
	}
	m := infoRelease.FindSubmatch(page)
	if m == nil {
		return k, false
	}
	k.Release = string(m[1])
	if m := infoBuildID.FindSubmatch(page); m != nil {
		k.BuildID = string(m[1])
	}
	return k, true
}
