// Package identity answers whether a guest's memory is that of a kernel's image,
// and whose it is where not.
package identity

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// The bounds of a search: how much is read at once, how long a banner may be, and
// how much memory is looked through, in bytes.
const (
	chunk     = 1 << 20
	maxBanner = 512
	maxSearch = 64 << 30
)

// Other returns the banner, made short, of a kernel in memory that has not this
// banner; "" where there is none. The context bounds
// the search.
func Other(ctx context.Context, ram physmem.Reader, banner string) (found string) {
	pieces(ctx, ram, func(b []byte) bool {
		for _, line := range banners(b) {
			if !same(line, banner) {
				found = Short(line)
				return true
			}
		}
		return false
	})
	return found
}

// pieces hands f all memory, piece by piece, each with the beginning of the next, until
// f has enough.
func pieces(ctx context.Context, ram physmem.Reader, f func(b []byte) (enough bool)) {
	buf := make([]byte, chunk+maxBanner)
	left := uint64(maxSearch)
	for _, r := range ram.Ranges() {
		for off := uint64(0); off < r.Size && left > 0; off += chunk {
			if ctx.Err() != nil {
				return
			}
			b := buf[:min(uint64(len(buf)), r.Size-off)]
			left -= min(left, chunk)
			if ram.ReadPhys(r.Phys+off, b) != nil && !pages(ram, r.Phys+off, b) {
				continue
			}
			if f(b) {
				return
			}
		}
	}
}

// pages reads memory page by page; those that are not there, as in a dump of the
// kernel's pages alone, are zero. false: there is none.
func pages(ram physmem.Reader, addr uint64, b []byte) (some bool) {
	const page = 4096
	for len(b) > 0 {
		p := b[:min(page, len(b))]
		if ram.ReadPhys(addr, p) == nil {
			some = true
		} else {
			clear(p)
		}
		b, addr = b[len(p):], addr+uint64(len(p))
	}
	return some
}

// form is what a banner looks like; there are others that are formats.
var form = regexp.MustCompile(`^Linux version [1-9][!-~]* \([ -~]+\) #[1-9][ -~]*$`)

// Short is a banner without who built the kernel by what: "6.1.0 #1 SMP ...",
// safe to show.
func Short(banner string) string {
	release, _, _ := strings.Cut(strings.TrimPrefix(banner, "Linux version "), " ")
	if i := strings.LastIndex(banner, ") #"); i >= 0 {
		release += banner[i+1:]
	}
	return console.SanitizeMax(release, maxBanner)
}

// SameBuild compares the build ID of the kernel in memory with that of the image.
// payload is the image, start the address its first byte is linked at, phys that
// where it is in memory. An image without a build ID that can be found in both
// gives no error: nothing is known then.
func SameBuild(k *kernel.Kernel, payload []byte, start uint64, ram physmem.Reader, phys uint64) error {
	id, err := hex.DecodeString(k.BuildID)
	if err != nil || len(id) == 0 {
		return nil
	}
	note := append([]byte("GNU\x00"), id...)
	at := bytes.Index(payload, note)
	if at < 0 {
		return nil
	}
	link := start + uint64(at) // a raw Image
	if elf64.Is(payload) {
		f, err := elf64.Parse(payload)
		if err != nil {
			return nil
		}
		var ok bool
		if link, ok = f.Addr(uint64(at)); !ok {
			return nil
		}
	}
	got := make([]byte, len(note))
	if link < start || ram.ReadPhys(phys+link-start, got) != nil || !bytes.HasPrefix(got, note[:4]) || bytes.Equal(got, note) {
		return nil
	}
	return fmt.Errorf("%s is not the build that the guest runs: its build ID is %s, the guest's %s: name the guest's with --kernel", k.Path, k.BuildID, hex.EncodeToString(got[4:]))
}
