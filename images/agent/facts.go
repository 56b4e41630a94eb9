package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// gather reads the report's facts from the guest. What cannot be read is left out.
func gather(s stage.Stage) agentproto.Report {
	r := agentproto.Report{V: 1, Stage: s, Uptime: uptime(), BuildID: buildID("/sys/kernel/notes")}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		r.Release = unix.ByteSliceToString(uts.Release[:])
	}
	if n, err := strconv.Atoi(word("/proc/sys/crypto/fips_enabled")); err == nil {
		r.FIPS = &n
	}
	r.HWRNG = word("/sys/class/misc/hw_random/rng_current")
	if r.HWRNG == "" {
		r.HWRNG = "none"
	}
	r.CRNG = getrandom(make([]byte, 1), unix.GRND_NONBLOCK) == nil
	if r.CRNG {
		r.CRNGReadyAt = crngReadyAt()
	}
	return r
}

// getrandom is the system call itself. Go's own wrapper goes through the vDSO
// where the kernel has one (6.11 and later), and a call that blocks in there
// stalls the whole program instead of one thread.
func getrandom(b []byte, flags int) error {
	_, _, errno := unix.Syscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags))
	if errno != 0 {
		return errno
	}
	return nil
}

// word returns a file's content without white space, "" where it can't be read.
func word(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func uptime() float64 {
	first, _, _ := strings.Cut(word("/proc/uptime"), " ")
	n, _ := strconv.ParseFloat(first, 64) // 0 where /proc is not mounted
	return n
}

// buildID reads the GNU build ID from the kernel's own ELF notes, which the
// kernel shows in the machine's byte order (kernel/ksysfs.c, notes_read).
func buildID(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for len(b) >= 12 {
		name, desc := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])
		kind := elf.NType(binary.NativeEndian.Uint32(b[8:]))
		nameEnd := 12 + align4(name)
		descEnd := nameEnd + align4(desc)
		if nameEnd < 12 || descEnd < nameEnd || descEnd > uint64(len(b)) {
			return ""
		}
		if kind == 3 && bytes.Equal(b[12:12+uint64(name)], []byte("GNU\x00")) {
			return hex.EncodeToString(b[nameEnd : nameEnd+uint64(desc)])
		}
		b = b[descEnd:]
	}
	return ""
}

func align4(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }

// crngReadyAt looks in the kernel log for when the random number generator was
// seeded (drivers/char/random.c prints "crng init done"); 0 if it is not there.
func crngReadyAt() float64 {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR) { // EPIPE: records were overwritten
			continue
		}
		if err != nil || n == 0 {
			return 0
		}
		if !bytes.Contains(buf[:n], []byte("crng init done")) {
			continue
		}
		head, _, _ := bytes.Cut(buf[:n], []byte(";"))
		fields := strings.Split(string(head), ",")
		if len(fields) < 3 {
			return 0
		}
		usec, _ := strconv.ParseFloat(fields[2], 64) // 0 on a malformed record
		return usec / 1e6
	}
}
