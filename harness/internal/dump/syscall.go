package dump

import (
	"bytes"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// entryPrefixes are the names of system call entry points, the strongest first:
// those of each architecture (x86_64 since 4.17, arm64 since 4.19), those that
// every one has, and those of 4.16 and older.
var entryPrefixes = func() (all []string) {
	for _, i := range isa.All() {
		all = append(all, i.EntryPrefixes...)
	}
	for _, i := range isa.All() {
		all = append(all, i.CompatPrefixes...)
	}
	return append(all, "__se_sys_", "__do_sys_", "__se_compat_sys_", "__do_compat_sys_",
		"SyS_", "SYSC_", "compat_SyS_", "compat_sys_", "sys_", "ksys_", "__sys_")
}()

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

// printer is the architecture whose kernel prints user-mode registers behind a
// task's stack, in the form that userRegs reads.
var printer = func() *isa.ISA {
	all := isa.All()
	return all[slices.IndexFunc(all, func(i *isa.ISA) bool { return len(i.TraceArgs) > 0 })]
}()

// userRegs are the user-mode registers behind a task's stack.
type userRegs struct {
	set     uint16
	origRAX uint64
	ip      uint64
	compat  bool
	user    bool
	args    [6]uint64
}

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
		for a, name := range printer.TraceArgs {
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

// syscall makes the Syscall of a finished task. a may be "".
func (u *userRegs) syscall(a arch.Arch, frames []model.Frame) *model.Syscall {
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
		s.Name = printer.Syscall(nr)
	}
	if s.Nr < 0 && !compat {
		s.Nr = isa.Of(a).SyscallNumber(name)
	}
	if nr >= 0 && u.set&0x3f == 0x3f {
		s.Args = full.args[:]
	}
	return s
}
