package dump

import "bytes"

// header is one header line of sched_show_task (kernel/sched/core.c).
type header struct {
	comm             []byte
	state            byte
	running          bool
	pid, tgid, ppid  int
	taskFlags, flags uint64
	hasTaskFlags     bool
}

// maxComm bounds a task name. TASK_COMM_LEN allows 15 bytes, but newer kernels
// print longer names for kernel threads.
const maxComm = 63

// parseHeader reads a task header in the format of any kernel since 2.6.
func parseHeader(b []byte) (header, bool) {
	if hasPrefix(b, "task:") {
		return parseNewHeader(b)
	}
	if len(b) < 12 || len(b) > 160 || b[0] == ' ' {
		return header{}, false
	}
	switch c := b[len(b)-1]; {
	case c == ')' || c == '|' || isHex(c):
		return parseOldHeader(b)
	}
	return header{}, false
}

// parseNewHeader reads the form of 5.9 (commit cc172ff301d8) and later:
//
//	task:systemd         state:S stack:12920 pid:    1 ppid:     0 flags:0x00000000
//	task:demo0           state:D stack:0     pid:308   ppid:2      flags:0x0000000a       6.1
//	task:demo0           state:D stack:0     pid:308   tgid:308   ppid:2      flags:...   6.7, bc87127a4592
//	... ppid:2      task_flags:0x0140 flags:0x0000000a                                    6.15
//	task:demo0           state:R  running task     stack:0 ...
//
// The name may hold anything, so the line is read from its last " state:".
// Padding may be collapsed.
func parseNewHeader(b []byte) (header, bool) {
	var h header
	i := bytes.LastIndex(b, []byte(" state:"))
	if i < 5 || i+8 >= len(b) {
		return h, false
	}
	h.comm = bytes.TrimRight(b[5:i], " ")
	h.state = b[i+7]
	rest := b[i+8:]
	if len(h.comm) == 0 || len(h.comm) > maxComm || !isState(h.state) {
		return h, false
	}
	if r := bytes.TrimLeft(rest, " "); hasPrefix(r, "running task") {
		h.running = true
		rest = r[len("running task"):]
	}
	seen := 0
	for len(rest) > 0 {
		rest = bytes.TrimLeft(rest, " ")
		colon := bytes.IndexByte(rest, ':')
		if colon < 0 {
			break
		}
		key := string(rest[:colon])
		rest = bytes.TrimLeft(rest[colon+1:], " ")
		var n int
		switch key {
		case "stack":
			_, n = parseDec(rest)
		case "pid":
			h.pid, n = parseDec(rest)
			seen |= 1
		case "tgid":
			h.tgid, n = parseDec(rest)
		case "ppid":
			h.ppid, n = parseDec(rest)
			seen |= 2
		case "task_flags":
			h.taskFlags, n = parse0x(rest)
			h.hasTaskFlags = true
		case "flags":
			h.flags, n = parse0x(rest)
		default: // a field of a later kernel
			n = bytes.IndexByte(rest, ' ')
			if n < 0 {
				n = len(rest)
			}
			if n == 0 {
				n = 1
			}
		}
		if n == 0 || len(key) > 24 {
			break
		}
		rest = rest[min(n, len(rest)):]
	}
	if seen == 1 && bytes.HasSuffix(b, []byte("…")) { // cut, see package shape
		h.ppid, seen = -1, 3
	}
	return h, seen == 3
}

// parseOldHeader reads the forms before 5.9:
//
//	cp            D C02371A0 19704060   136     91 (NOTLB)                     2.6
//	mount           D ffff911e2b64e2a0     0 61208      1 0x00000084           3.x-4.8
//	systemd-udevd   D    0   639    593 0x00000004                             4.9-5.8
//	rcu_sched       I15016    11      2 0x80004000                             glued
//	swapper/0       R  running task        0     0      1 0x00000000
//
// The name may hold blanks, so the line is read from its end.
func parseOldHeader(b []byte) (header, bool) {
	var h header
	rest := b
	tail := false
	t, r := lastField(rest)
	if string(t) == "|" || string(t) == "(NOTLB)" || string(t) == "(L-TLB)" {
		tail = true
		rest = r
		if t, r = lastField(rest); string(t) == "|" {
			rest = r
			t, r = lastField(rest)
		}
	}
	hasFlags := false
	if len(t) >= 10 && t[0] == '0' && t[1] == 'x' {
		v, n := parseHex(t[2:])
		if n != len(t)-2 {
			return h, false
		}
		h.flags, hasFlags, rest = v, true, r
	}
	nums, n, ok := h.scanOld(rest)
	if !ok {
		return h, false
	}
	h.comm = bytes.TrimRight(h.comm, " ")
	if len(h.comm) == 0 || len(h.comm) > 15 {
		return h, false
	}
	at := func(i int) []byte { return nums[n-1-i] } // left to right
	hasPC := n >= 4 && len(at(0)) >= 8
	if !hasPC && n >= 4 && !tail {
		return h, false
	}
	k := 0
	if hasPC {
		k = 1
	}
	if !hasFlags && !tail && (!hasPC || n != 4) || n < k+3 {
		return h, false
	}
	if !allDigits(at(k)) || !allDigits(at(k+1)) || !allDigits(at(k+2)) {
		return h, false
	}
	h.pid, _ = parseDec(at(k + 1))
	h.ppid, _ = parseDec(at(k + 2))
	return h, true
}

// scanOld reads an old header from its end up to the state letter. nums are the
// numbers, right to left.
func (h *header) scanOld(rest []byte) (nums [9][]byte, n int, ok bool) {
	for {
		t, r := lastField(rest)
		if len(t) == 0 || n == len(nums) {
			return nums, n, false
		}
		if len(t) == 1 && isState(t[0]) {
			h.state, h.comm = t[0], r
			return nums, n, true
		}
		if len(t) > 1 && isState(t[0]) && allDigits(t[1:]) { // glued to the free stack
			nums[n] = t[1:]
			n++
			h.state, h.comm = t[0], r
			return nums, n, true
		}
		if string(t) == "task" {
			t2, r2 := lastField(r)
			t3, r3 := lastField(r2)
			if string(t2) == "running" && string(t3) == "R" {
				h.state, h.running, h.comm = 'R', true, r3
				return nums, n, true
			}
		}
		if !allHex(t) {
			return nums, n, false
		}
		nums[n] = t
		n++
		rest = r
	}
}

// lastField splits off the last blank-separated field.
func lastField(b []byte) (field, rest []byte) {
	e := len(b)
	for e > 0 && b[e-1] == ' ' {
		e--
	}
	s := e
	for s > 0 && b[s-1] != ' ' {
		s--
	}
	return b[s:e], b[:s]
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 18
}

func allHex(b []byte) bool {
	for _, c := range b {
		if !isHex(c) {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 18
}

func parse0x(b []byte) (uint64, int) {
	if !hasPrefix(b, "0x") {
		return 0, 0
	}
	v, n := parseHex(b[2:])
	if n == 0 {
		return 0, 0
	}
	return v, n + 2
}

// isState accepts the letters of TASK_STATE_TO_CHAR_STR of all kernels.
func isState(c byte) bool { return bytes.IndexByte([]byte("RSDTtXZPIKWNx?"), c) >= 0 }

// cpuLine is `CPU: 1 UID: 0 PID: 90 Comm: busybox Not tainted ...`.
// The forms: `Pid: N, comm: X` until 3.9, `CPU: n PID: n Comm: X` from 3.10,
// with UID from 6.11.
type cpuLine struct {
	cpu, pid int
	comm     []byte
}

func parseCPULine(b []byte) (cpuLine, bool) {
	c := cpuLine{cpu: -1}
	if hasPrefix(b, "Pid: ") {
		p, n := parseDec(b[5:])
		i := bytes.Index(b, []byte(", comm: "))
		if n == 0 || i < 0 {
			return c, false
		}
		c.pid, c.comm = p, endOfComm(b[i+8:])
		return c, true
	}
	if !hasPrefix(b, "CPU: ") {
		return c, false
	}
	i := bytes.Index(b, []byte("PID: "))
	j := bytes.Index(b, []byte(" Comm: "))
	if i < 0 || j < i {
		return c, false
	}
	var n int
	if c.cpu, n = parseDec(bytes.TrimLeft(b[5:], " ")); n == 0 {
		return c, false
	}
	if c.pid, n = parseDec(bytes.TrimLeft(b[i+5:], " ")); n == 0 {
		return c, false
	}
	c.comm = endOfComm(b[j+7:])
	return c, true
}

func endOfComm(b []byte) []byte {
	e := len(b)
	for _, s := range []string{" Not tainted", " Tainted: ", " Kdump: ", " Xid:"} {
		if i := bytes.Index(b, []byte(s)); i >= 0 && i < e {
			e = i
		}
	}
	return bytes.TrimRight(b[:min(e, maxComm)], " ")
}
