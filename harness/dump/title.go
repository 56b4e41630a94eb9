package dump

import (
	"strings"
)

func (p *Parser) finishTitles() {
	for i := range p.d.Reports {
		rep := &p.d.Reports[i]
		ip := rep.IP
		if rep.Kind == ReportBug && !strings.HasPrefix(rep.Text, "kernel BUG at ") && len(rep.Frames) > 0 {
			ip = "" // a trace of who complains: an RIP in it is what was interrupted
		}
		rep.Func = Guilty(ip, rep.Frames)
		rep.Title = title(rep)
	}
}

func title(r *Report) string {
	in := func(s string) string {
		if r.Func == "" {
			return s
		}
		return s + " in " + r.Func
	}
	switch r.Kind {
	case ReportPanic:
		return "kernel panic: " + Normalise(strings.TrimPrefix(r.Text, "Kernel panic - not syncing: "))
	case ReportSoft:
		return in("BUG: soft lockup")
	case ReportHard:
		return in("BUG: hard lockup")
	case ReportWorkqueue:
		return "BUG: workqueue lockup"
	case ReportRCU:
		return in("INFO: rcu detected stall")
	case ReportHungTask:
		return in("INFO: task hung")
	case ReportWarning:
		return in("WARNING")
	case ReportLockdep:
		s := strings.TrimPrefix(strings.TrimPrefix(r.Text, "INFO: "), "WARNING: ")
		return "lockdep: " + strings.TrimSuffix(Normalise(s), " detected")
	case ReportKASAN:
		s := strings.TrimPrefix(r.Text, "BUG: ")
		if i := strings.Index(s, " in "); i > 0 {
			s = s[:i]
		}
		return in(Normalise(s))
	case ReportOOM:
		return "out of memory"
	case ReportReboot:
		return "reboot: " + strings.TrimSuffix(strings.TrimPrefix(r.Text, "reboot: "), ".")
	case ReportBug:
		if strings.HasPrefix(r.Text, "kernel BUG at ") {
			return in("kernel BUG")
		}
		if atomic := "BUG: scheduling while atomic"; strings.HasPrefix(r.Text, atomic) {
			return in(atomic) // the rest is the task, its PID and its count
		}
		s, _, _ := strings.Cut(r.Text, " at ") // the rest is a source line or an address
		return in(Normalise(s))
	}
	return in(oopsTitle(r.Text))
}

func oopsTitle(s string) string {
	low := strings.ToLower(s)
	switch {
	case strings.Contains(low, "null pointer dereference"):
		return "BUG: kernel NULL pointer dereference"
	case strings.Contains(low, "paging request"):
		return "BUG: unable to handle kernel paging request"
	case strings.Contains(low, "page fault for address"):
		return "BUG: unable to handle kernel paging request"
	case strings.Contains(low, "general protection fault"):
		return "general protection fault"
	case strings.Contains(low, "double fault"):
		return "double fault"
	}
	s = strings.TrimPrefix(s, "Internal error: ")
	if i := strings.IndexAny(s, ":["); i > 0 {
		s = s[:i]
	}
	return strings.TrimSpace(Normalise(s))
}

func Normalise(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if !isHex(c) || i > 0 && (isWord(s[i-1]) || s[i-1] == '.') {
			b.WriteByte(c)
			i++
			continue
		}
		j := i
		for j < len(s) && isWord(s[j]) {
			j++
		}
		w := s[i:j]
		switch {
		case strings.HasSuffix(s[:i], "exitcode="):
			b.WriteString(w)
		case strings.HasPrefix(w, "0x") && len(w) > 8, len(w) >= 12 && allHex([]byte(w)):
			b.WriteString("ADDR")
		case allDigits([]byte(w)) && len(w) >= 4:
			b.WriteString("N")
		default:
			b.WriteString(w)
		}
		i = j
	}
	return b.String()
}
