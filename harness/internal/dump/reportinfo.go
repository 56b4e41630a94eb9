package dump

import (
	"bytes"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// info reads the reports that begin with INFO.
func (p *parser) info(t []byte, r Record) bool {
	s := t[len("INFO: "):]
	switch {
	case hasPrefix(s, "task "):
		return p.taskInfo(s[len("task "):], t, r)
	case hasPrefix(s, "rcu") && (bytes.Contains(s, []byte("detected stall")) || bytes.Contains(s, []byte("self-detected stall")) || bytes.Contains(s, []byte("detected expedited stall"))):
		if bl := p.block(r.Caller); bl != nil && bl.want >= 0 && len(bl.frames) == 0 && p.d.Reports[bl.want].Kind == ReportRCU && r.Offset == p.d.Reports[bl.want].End {
			p.d.Reports[bl.want].End = r.End // another CPU notices the same stall at once
			return true
		}
		rep := Report{Kind: ReportRCU, Text: clip(t)}
		if i := bytes.Index(s, []byte(" on CPU ")); i > 0 {
			rep.CPU = cpuFrom1(bytes.TrimLeft(s[i+8:], "{ ")) // 3.x: "on CPU { 1}"
		}
		if i := p.addReport(rep, r); i >= 0 {
			p.stuck = i
			p.start(r.Caller, p.reportBlock(i, i))
		}
		return true
	case lockdepInfo(s):
		if i := p.addReport(Report{Kind: ReportLockdep, Text: clip(t)}, r); i >= 0 {
			p.start(r.Caller, p.reportBlock(i, -1))
		}
		return true
	}
	return false
}

// lockdepInfo recognises lockdep's reports, which were INFO until 4.12.
func lockdepInfo(s []byte) bool {
	return hasPrefix(s, "possible ") || hasPrefix(s, "inconsistent lock state") || hasPrefix(s, "suspicious RCU usage") ||
		hasPrefix(s, "trying to register non-static key") || bytes.Contains(s, []byte("-unsafe lock order detected"))
}

// repeated recognises a report that the kernel prints again every ten seconds.
func (p *parser) repeated(t []byte) bool {
	n := len(p.d.Reports)
	return n > 0 && hasPrefix(t, netdev) && strings.HasPrefix(p.d.Reports[n-1].Text, netdev)
}

const netdev = "unregister_netdevice: "

// taskInfo reads the reports of khungtaskd (kernel/hung_task.c):
//
//	INFO: task COMM:PID blocked for more than N seconds.
//	INFO: task COMM:PID is blocked on a mutex likely owned by task COMM:PID.
//	INFO: task COMM:PID is blocked on a mutex, but the owner is not found.
//	INFO: task COMM:PID blocked on a semaphore likely last held by task COMM:PID
//	INFO: task COMM:PID <reader> blocked on an rw-semaphore likely owned by task COMM:PID <writer>
//
// All but the first came with 6.15.
func (p *parser) taskInfo(s, t []byte, r Record) bool {
	i := bytes.Index(s, []byte(" blocked "))
	if j := bytes.Index(s, []byte(" can't die for more than ")); i < 0 && j > 0 {
		if comm, pid, ok := splitComm(s[:j]); ok {
			secs, _ := parseDec(s[j+len(" can't die for more than "):])
			if k := p.addReport(Report{Kind: ReportHungTask, Text: clip(t), Comm: p.intern(comm), PID: pid, Seconds: secs}, r); k >= 0 {
				p.start(r.Caller, p.reportBlock(k, k))
			}
			return true
		}
	}
	if i < 0 {
		p.halfTask = r.End // a name with a line break: the rest follows
		return false
	}
	who := bytes.TrimSuffix(s[:i], []byte(" is"))
	if j := bytes.LastIndexByte(who, '<'); j > 0 && who[len(who)-1] == '>' {
		who = bytes.TrimRight(who[:j], " ")
	}
	comm, pid, ok := splitComm(who)
	if !ok {
		return false
	}
	rest := s[i+len(" blocked "):]
	if hasPrefix(rest, "for more than ") || hasPrefix(rest, "in I/O wait for more than ") {
		rep := Report{Kind: ReportHungTask, Text: clip(t), Comm: p.intern(comm), PID: pid}
		if j := bytes.Index(rest, []byte("than ")); j >= 0 {
			rep.Seconds, _ = parseDec(rest[j+5:])
		}
		if k := p.addReport(rep, r); k >= 0 {
			p.start(r.Caller, p.reportBlock(k, k))
		}
		return true
	}
	if !hasPrefix(rest, "on a") || len(p.d.Owners) >= MaxReports {
		return hasPrefix(rest, "on a")
	}
	o := model.Owner{WaiterComm: p.intern(comm), WaiterPID: pid, Offset: r.Offset, End: r.End}
	for _, l := range []string{"rw-semaphore", "semaphore", "mutex", "lock"} {
		if bytes.Contains(rest, []byte(l)) {
			o.Lock = l
			break
		}
	}
	for _, by := range []string{"owned by task ", "last held by task ", "held by task "} {
		if j := bytes.Index(rest, []byte(by)); j >= 0 {
			q := bytes.TrimRight(rest[j+len(by):], ". ")
			if k := bytes.LastIndexByte(q, '<'); k > 0 && q[len(q)-1] == '>' {
				q = bytes.TrimRight(q[:k], " ")
			}
			if c, n, ok := splitComm(q); ok {
				o.OwnerComm, o.OwnerPID = p.intern(c), n
			}
			break
		}
	}
	p.d.Owners = append(p.d.Owners, o)
	return true
}

// splitComm splits COMM:PID at the last colon, since the name may hold one.
func splitComm(b []byte) (comm []byte, pid int, ok bool) {
	i := bytes.LastIndexByte(b, ':')
	if i <= 0 || i > maxComm || !allDigits(b[i+1:]) {
		return nil, 0, false
	}
	pid, _ = parseDec(b[i+1:])
	return b[:i], pid, true
}

// lockupFacts reads `BUG: soft lockup - CPU#0 stuck for 22s! [comm:pid]`.
func lockupFacts(t []byte, rep *Report) {
	if i := bytes.Index(t, []byte("CPU#")); i >= 0 {
		if n, k := parseDec(t[i+4:]); k > 0 {
			rep.CPU = n + 1
		}
	}
	if i := bytes.Index(t, []byte("stuck for ")); i >= 0 {
		rep.Seconds, _ = parseDec(t[i+10:])
	}
	i, e := bytes.Index(t, []byte("! [")), bytes.LastIndexByte(t, ']')
	if i >= 0 && e > i+3 {
		if c, pid, ok := splitComm(t[i+3 : e]); ok {
			rep.Comm, rep.PID = string(c), pid
		}
	}
}

// hardFacts reads the CPU of a hard lockup, of powerpc's also where it is:
//
//	Watchdog detected hard LOCKUP on cpu 3
//	Watchdog CPU:59 Hard LOCKUP                       powerpc until 4.13
//	CPU 17 Hard LOCKUP                                powerpc
//	CPU 17 self-detected hard LOCKUP @ fn+0x12/0x34
//	CPU 0 detected hard LOCKUP on other CPUs 17
func hardFacts(t []byte, rep *Report) {
	for _, before := range []string{" on cpu ", " on other CPUs ", " CPU:", "CPU "} {
		if i := bytes.Index(t, []byte(before)); i >= 0 {
			rep.CPU = cpuFrom1(t[i+len(before):])
			break
		}
	}
	if i := bytes.Index(t, []byte(" @ ")); i > 0 {
		rep.IP = string(ipSymbol(t[i:]))
	}
}

// oomFacts reads `Out of memory: Killed process 123 (comm) ...` and
// `comm invoked oom-killer: ...`.
func oomFacts(t []byte, rep *Report) {
	if i := bytes.Index(t, []byte(" process ")); i >= 0 {
		rep.PID, _ = parseDec(t[i+9:])
		if o := bytes.IndexByte(t[i:], '('); o > 0 {
			if c := bytes.IndexByte(t[i+o:], ')'); c > 1 {
				rep.Comm = clip(t[i+o+1 : i+o+c])
			}
		}
		return
	}
	if i := bytes.Index(t, []byte(" invoked oom-killer")); i > 0 && i <= maxComm {
		rep.Comm = clip(t[:i])
	}
}
