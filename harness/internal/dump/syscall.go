package dump

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"bytes"
	"strings"
)

// SyscallName gives the name of a system call number. arch is "x86_64" or
// "aarch64"; "" is returned for an unknown number or architecture.
func SyscallName(arch string, nr int) string {
	var t []string
	switch arch {
	case "x86_64":
		t = x8664Syscalls[:]
	case "aarch64":
		t = genericSyscalls[:]
	}
	if nr < 0 || nr >= len(t) {
		return ""
	}
	return t[nr]
}

// syscallNumber is the inverse of SyscallName, -1 if unknown.
func syscallNumber(arch, name string) int {
	t := x8664Syscalls[:]
	if arch == "aarch64" {
		t = genericSyscalls[:]
	} else if arch != "x86_64" {
		return -1
	}
	for i, n := range t {
		if n == name && n != "" {
			return i
		}
	}
	return -1
}

// entryPrefixes are the names of system call entry points, the strongest
// first. SyS_ and sys_ are those of 4.16 and older, __x64_sys_ is 4.17's,
// __arm64_sys_ 4.19's.
var entryPrefixes = []string{
	"__x64_sys_", "__arm64_sys_", "__ia32_compat_sys_", "__ia32_sys_", "__arm64_compat_sys_",
	"__se_sys_", "__do_sys_", "__se_compat_sys_", "__do_compat_sys_",
	"SyS_", "SYSC_", "compat_SyS_", "compat_sys_", "sys_", "ksys_", "__sys_",
}

// notEntry are functions with an entry prefix that are no system call.
var notEntry = map[string]bool{"sys_call": true, "sys_enter": true, "sys_ni_syscall": true}

// syscallRenames are entry points whose name differs from the call's.
var syscallRenames = map[string]string{
	"newstat": "stat", "newfstat": "fstat", "newlstat": "lstat", "newuname": "uname",
	"sendfile64": "sendfile", "umount": "umount2", "mmap_pgoff": "mmap",
	"fadvise64_64": "fadvise64", "select6": "pselect6",
}

// SyscallFromFrames finds the system call in a stack, outermost frame last. It
// returns "" if there is none.
func SyscallFromFrames(frames []model.Frame) (name string, compat bool) {
	best := len(entryPrefixes)
	for _, f := range frames {
		if !f.Reliable {
			continue
		}
		fn := f.Func
		if !mayBeEntry(fn) {
			continue
		}
		fn = model.BaseName(fn)
		if notEntry[fn] {
			continue
		}
		for rank, p := range entryPrefixes {
			if rank > best {
				break
			}
			if strings.HasPrefix(fn, p) && len(fn) > len(p) {
				best = rank
				name = fn[len(p):]
				compat = strings.Contains(p, "ia32") || strings.Contains(p, "compat")
				break
			}
		}
	}
	if n, ok := syscallRenames[name]; ok {
		name = n
	}
	return name, compat
}

// mayBeEntry is a cheap test that spares most functions the search.
func mayBeEntry(fn string) bool {
	if len(fn) < 5 {
		return false
	}
	switch fn[0] {
	case '_', 'S', 's', 'k', 'c':
		return strings.Contains(fn, "sys_") || strings.Contains(fn, "SyS_") || strings.Contains(fn, "SYSC_")
	}
	return false
}

// userRegs are the user-mode registers that x86 prints behind a trace.
type userRegs struct {
	set     uint16
	origRAX uint64
	ip      uint64
	compat  bool
	user    bool
	args    [6]uint64
}

// regNames are the registers that carry arguments, in the order of the ABI,
// spelled as the kernel prints them.
var regNames = [...]string{"RDI", "RSI", "RDX", "R10", "R08", "R09"}

const (
	regOrig = 1 << 8
	regIP   = 1 << 9
)

// regLine reads a register line; it returns false for any other line.
//
//	RIP: 0033:0x7f1a2b3c4d5e
//	RSP: 002b:00007ffd2466c488 EFLAGS: 00000246 ORIG_RAX: 000000000000013e
//	RDX: ... RSI: ... RDI: ...
func (u *userRegs) line(b []byte) bool {
	if len(b) < 8 || b[0] != 'R' || b[3] != ':' || b[4] != ' ' {
		return false
	}
	switch {
	case hasPrefix(b, "RIP: "):
		i := 5
		cs, n := parseHex(b[i:])
		if n == 0 || cs&3 != 3 { // kernel mode
			u.user = false
			return cs != 0 && n != 0
		}
		*u = userRegs{user: true, compat: cs == 0x23}
		i += n
		if i < len(b) && b[i] == ':' {
			i++
			if hasPrefix(b[i:], "0x") {
				i += 2
			}
			if v, k := parseHex(b[i:]); k > 0 {
				u.ip = v
				u.set |= regIP
			}
		}
		return true
	case hasPrefix(b, "RSP: "):
		if i := bytes.Index(b, []byte("ORIG_RAX: ")); i >= 0 && (u.user || hasPrefix(b[5:], "002b") || hasPrefix(b[5:], "007b")) {
			if v, n := parseHex(b[i+10:]); n > 0 {
				u.origRAX = v
				u.set |= regOrig
				u.user = true
			}
		}
		return true
	}
	if u.user {
		u.arguments(b)
	}
	return true
}

// arguments reads the `RDX: 0123 RSI: 4567` of a user-mode register line.
func (u *userRegs) arguments(b []byte) {
	for i := 0; i+4 < len(b); {
		e := i
		for e < len(b) && b[e] != ':' {
			e++
		}
		if e+2 >= len(b) || e-i > 4 {
			return
		}
		v, n := parseHex(b[e+2:])
		if n == 0 {
			return
		}
		for a, name := range regNames {
			if string(b[i:e]) == name {
				u.args[a] = v
				u.set |= 1 << a
			}
		}
		i = e + 2 + n
		for i < len(b) && b[i] == ' ' {
			i++
		}
	}
}

// syscall makes the Syscall of a finished task. arch may be "".
func (u *userRegs) syscall(arch string, frames []model.Frame) *model.Syscall {
	name, compat := SyscallFromFrames(frames)
	nr := -1
	if u.user && u.set&regOrig != 0 && int64(u.origRAX) >= 0 && u.origRAX < 4096 {
		nr = int(u.origRAX)
		compat = compat || u.compat
	}
	if nr < 0 && name == "" {
		return nil
	}
	full := &struct { // in one piece
		model.Syscall
		args [6]uint64
	}{Syscall: model.Syscall{Nr: nr, Name: name, Compat: compat}, args: u.args}
	s := &full.Syscall
	if s.Name == "" && !compat {
		s.Name = SyscallName("x86_64", nr) // only x86 prints the number
	}
	if s.Nr < 0 && !compat {
		s.Nr = syscallNumber(arch, name)
	}
	if nr >= 0 && u.set&0x3f == 0x3f {
		s.Args = full.args[:]
	}
	return s
}
