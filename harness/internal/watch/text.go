package watch

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/unwedge/unwedge/scenarios"
)

// phrase is a text of the kernel's that ends a boot or names a stall.
type phrase struct {
	text    string
	outcome scenarios.Outcome
}

// finals are the kernel's last words. Source: kernel/panic.c, kernel/reboot.c.
var finals = []phrase{
	{"Kernel panic - not syncing", scenarios.Panicked},
	{"reboot: System halted", scenarios.Stopped},
	{"reboot: Power down", scenarios.Stopped},
	{"reboot: Power off not available: System halted", scenarios.Stopped},
}

// detectors are the kernel's own words on a stall. Source: kernel/watchdog.c,
// kernel/hung_task.c, kernel/rcu/tree_stall.h, kernel/workqueue.c.
var detectors = []string{
	"BUG: soft lockup", "hard LOCKUP", "Hard LOCKUP", "detected stall", "self-detected stall",
	"detected expedited stalls", "blocked for more than", "BUG: workqueue lockup", "kthread starved for",
}

// killer are the words of the OOM killer: what begins, and what ends, its report.
// Source: mm/oom_kill.c.
var killer = []string{" invoked oom-killer: ", "oom-kill:constraint=", "ut of memory: Killed process "}

// noise are lines that a kernel prints because its host is slow; they say
// nothing of the boot. Source: kernel/time/hrtimer.c, kernel/events/core.c,
// arch/x86/kernel/hpet.c, kernel/time/clocksource.c.
var noise = []string{
	"hrtimer: interrupt took", "perf: interrupt took too long", "RTC interrupts", "clocksource: timekeeping watchdog",
}

// waiting are status lines of systemd's that say that nothing happens.
var waiting = []string{" job is running for ", "/start running ("}

// isWaiting says that a line is such a status line.
func isWaiting(line []byte) bool { return hasAny(line, waiting) }

// idleTalk says that a line is no progress, new as it may look.
func idleTalk(line []byte) bool { return isWaiting(line) || hasAny(line, noise) }

func hasAny(line []byte, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(line, []byte(text)) })
}

// stampEnd matches the kernel's stamp, its caller's (CONFIG_PRINTK_CALLER) with it,
// at the end of what stands before its words.
var stampEnd = regexp.MustCompile(`\[ *\d{1,10}\.\d{1,9}\](\[[^\[\]]{1,40}\])? (\d{3}: )?(---\[ end )?$`)

// stamped says that a line begins as the kernel's do.
var stamped = regexp.MustCompile(`^\r*(<\d{1,2}>)?\[ *\d{1,10}\.\d{6}\]`)

// enoughStamps is how many lines with a stamp show that the kernel has them, where
// its banner was not seen: a program may print something alike.
const enoughStamps = 8

// stamps finds out whether the kernel stamps its lines.
type stamps struct {
	banner, certain bool
	seen            int
}

func (s *stamps) line(text []byte) {
	if s.certain || s.banner {
		return
	}
	has := stamped.Match(text)
	if s.banner = bytes.Contains(text, []byte("Linux version ")); s.banner {
		s.certain = has
		return
	}
	if has {
		s.seen++
	}
	s.certain = s.seen >= enoughStamps
}

// lastWords reads the kernel's last words. Where the kernel stamps its lines,
// words without a stamp are those of a program that shows an old log, or lies.
func lastWords(line []byte, stamps bool) (scenarios.Outcome, string) {
	for _, p := range finals {
		for from := 0; ; {
			i := bytes.Index(line[from:], []byte(p.text))
			if i < 0 {
				break
			}
			i += from
			if !stamps || stampEnd.Match(line[max(0, i-80):i]) {
				return p.outcome, "the kernel says: " + clip(line[i:])
			}
			from = i + len(p.text)
		}
	}
	return "", ""
}

func detectorLine(line []byte) string {
	for _, d := range detectors {
		if bytes.Contains(line, []byte(d)) {
			return clip(bytes.TrimSpace(line))
		}
	}
	return ""
}

// clip bounds a guest's text and makes it plain, because it goes into a
// sentence.
func clip(b []byte) string {
	const most = 160
	if len(b) > most {
		b = b[:most]
	}
	out := make([]byte, len(b))
	for i, c := range b {
		if c < 0x20 || c >= 0x7f {
			c = '?'
		}
		out[i] = c
	}
	return string(out)
}

// shapes remembers the shapes of lines in bounded memory: when a generation is
// full the one before it is forgotten.
type shapes struct{ young, old map[uint64]struct{} }

const generation = 1 << 15

// add returns true if the shape was not there.
func (s *shapes) add(h uint64) bool {
	if _, ok := s.young[h]; ok {
		return false
	}
	_, ok := s.old[h]
	if s.young == nil || len(s.young) >= generation {
		s.old, s.young = s.young, make(map[uint64]struct{})
	}
	s.young[h] = struct{}{}
	return !ok
}
