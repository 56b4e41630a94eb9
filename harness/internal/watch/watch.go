// Package watch decides whether a boot is over, and how. It is pure: whoever
// runs the guest tells a Tracker what happened and when, and asks it for its
// Decision. The rule in one place:
//
//   - The expected stage of the agent's, or another sign that was asked for: booted.
//   - The kernel's own last words (panic, halt, power-off), or QEMU's event for
//     them: over, after the text has settled.
//   - The second reset: a reboot loop. (The first may be meant.)
//   - The guest's memory shows that nothing can wake it, or its registers that its vCPUs
//     do the same for ever (package proof): hung, at once.
//   - No progress for Limits.Idle with every vCPU idle, or for Limits.Busy with
//     one busy, or no output at all for Limits.Start: suspect. The caller then
//     captures, and only if nothing moves for Limits.Confirm afterwards it is
//     hung.
//     A busy guest whose vCPUs are seen in many places works, and is given more
//     time instead. One whose vCPUs change no register for some seconds
//     computes nothing, and need not be waited for longer than an idle one: it
//     is looked at after Limits.Look, and each Limits.Look anew. One whose registers
//     show the idle loop twice in a row is idle, whatever its threads do.
//   - The same few lines over and over for some seconds, and nothing else: suspect,
//     as if it were silent.
//   - Limits.Deadline: slow if it still makes progress or works, suspect if not.
//
// Each decision states its Confidence: what the guest or QEMU says in as many
// words is certain, a stall that its own signs explain (idle vCPUs, registers
// that do not change, the kernel's own detector) is likely, and silence alone is
// only possible.
//
// Progress is a console line of a shape not seen before in this boot, or a
// report of the agent of a stage not reported before. A line that differs from an
// earlier one only in its numbers is none: a status line that counts seconds, or a
// flood, must not look like work. A percentage that rises is progress, as of a long
// check.
package watch

import (
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
)

// IdleShare is how much of a quiet period a vCPU may run and still count as
// idle: the timer tick and a status line cost some per cent under TCG.
const IdleShare = 0.2

// spinShare is how much of a quiet period a vCPU runs that never rests.
const spinShare = 0.9

// restful is how often in a row the registers must show idle vCPUs whose threads are
// busy. A guest that pauses now and then looks so once.
const restful = 2

// oneReset is how far apart resets are that count as two. The two of one reboot
// were seen 60 ms apart under TCG; a loop that is faster than this is counted a
// little later.
const oneReset = time.Second

// complaint is how long the kernel's report on a stall, or of its OOM killer, may
// take to print. Its registers and traces are lines not seen before, and no progress.
const complaint = 2 * time.Second

// State is what the Decision asks for.
type State int

// The states of a boot.
const (
	Running State = iota // go on watching
	Suspect              // capture, then Confirm
	Over                 // Outcome says how
)

// Decision is the Tracker's answer at one moment.
type Decision struct {
	State   State
	Outcome scenarios.Outcome // where State is Over
	// Why is one sentence for people.
	Why string
	// Confidence is how sure that is; "" while Running.
	Confidence result.Confidence
	// Since is when the last progress was made.
	Since time.Time
	// Idle says that all vCPUs idled since then.
	Idle bool
	// Firmware says that firmware or a boot loader runs, so that there is no kernel
	// that could be asked.
	Firmware bool
	// Late says that the deadline has come.
	Late bool
	// Proven says that the guest's memory shows that none can follow: nobody need wait
	// for it.
	Proven bool
	// Early says that a vCPU is busy, and that it is Suspect only if the
	// registers show that none computes anything. Otherwise Looked is called.
	Early bool
}

// Tracker keeps what was told. It is not safe for use by several goroutines.
type Tracker struct {
	limits result.Limits
	goal   Goal
	start  time.Time

	progress   time.Time // the last one
	spoke      bool      // any console byte since the last reset
	stamps     stamps    // does the kernel stamp its lines?
	seen       shapes
	rising     rising
	job        job
	reached    arrival
	ending     ending
	resets     int
	reset      time.Time // the last one that counted
	detector   string    // the kernel's own word on a stall, since the last progress
	complained time.Time // when it was said, or the OOM killer spoke
	flood      flood
	busy       meter
	gaps       result.Reference
	capturing  bool
	stands     bool      // its vCPUs are stopped
	firmware   bool      // the kernel does not run yet
	looked     time.Time // when the registers were last seen to change
	rested     int       // how often in a row, since the last progress, they showed idle vCPUs
	worked     time.Time // when the vCPUs were last seen to do real work
	proven     string    // why nothing more can come, by what the guest's memory shows
}

// ending is how the guest said it ends.
type ending struct {
	outcome scenarios.Outcome
	why     string
	last    time.Time // of the text that belongs to it
	now     bool      // no need to let it settle
}

// New starts watching a boot that should reach the goal.
func New(l result.Limits, goal Goal, start time.Time) *Tracker {
	return &Tracker{limits: l, goal: goal, start: start, progress: start, rising: rising{}, busy: meter{from: start}}
}

// Line takes a console line. Partial lines need not be told.
func (t *Tracker) Line(at time.Time, text []byte) {
	t.spoke = true
	text = console.Strip(text)
	if t.ending.outcome != "" {
		t.ending.last = at
	}
	t.stamps.line(text)
	if !t.capturing {
		t.look(at, text)
	}
	if o, why := lastWords(text, t.stamps.certain); o != "" && t.ending.outcome == "" {
		t.ending = ending{outcome: o, why: why, last: at}
	}
	if d := detectorLine(text); d != "" {
		t.detector, t.complained = d, at
		return // the kernel complains about the stall: that is no progress
	}
	if hasAny(text, killer) { // a program is ended, and another one does as it did
		t.complained = at
		return
	}
	if j, ok := jobLine(at, text); ok {
		t.job = j
	}
	if idleTalk(text) {
		return
	}
	if t.capturing { // what we asked for is no progress either
		return
	}
	h := console.Shape(text)
	up := t.rising.rises(h, text)
	switch fresh := t.seen.add(h); {
	case !fresh && !up:
		t.flood.add(at, h, text)
	case at.Sub(t.complained) >= complaint:
		t.moved(at)
	}
}

// Bytes says that the console gave something, be it no whole line yet.
func (t *Tracker) Bytes() { t.spoke = true }

// Report takes a report of the agent.
func (t *Tracker) Report(at time.Time, r agentproto.Report) {
	if t.goal.stage != "" && r.Stage == t.goal.stage {
		t.Reach(at, fmt.Sprintf("the agent reports %s", r.Stage))
	}
	if t.seen.add(console.Shape([]byte("agent: " + string(r.Stage)))) {
		t.moved(at)
	}
}

// Shutdown takes QEMU's word that the guest has powered off.
func (t *Tracker) Shutdown(at time.Time, why string) {
	if t.ending.outcome == "" || t.ending.outcome == scenarios.Stopped {
		t.ending = ending{outcome: scenarios.Stopped, why: why, last: at, now: true}
	}
}

// GuestPanicked takes QEMU's GUEST_PANICKED event.
func (t *Tracker) GuestPanicked(at time.Time) {
	if t.ending.outcome == "" {
		t.ending = ending{outcome: scenarios.Panicked, why: "the guest reported a panic to QEMU", last: at}
	}
}

// Reset takes QEMU's word that the guest has reset itself. Resets that follow
// one another at once are one: on x86 the firmware resets the machine once more
// when it finds that it was not started by a power-on (SeaBIOS,
// src/resume.c, tryReboot).
func (t *Tracker) Reset(at time.Time) {
	if t.resets == 0 || at.Sub(t.reset) >= oneReset {
		t.resets, t.reset = t.resets+1, at
	}
	t.spoke, t.stamps = false, stamps{}
	if t.goal.stage == "" { // what the console showed was before the reset
		t.reached = arrival{}
	}
	t.seen, t.rising, t.job = shapes{}, rising{}, job{}
	t.moved(at)
}

// VCPUs takes the share of time each vCPU was busy since the last call.
func (t *Tracker) VCPUs(at time.Time, shares []float64) {
	var top float64
	for _, s := range shares {
		top = max(top, s)
	}
	t.busy.add(at, top)
}

// Capturing says whether the harness itself makes the guest print, so that what
// it prints is not taken for progress.
func (t *Tracker) Capturing(on bool) { t.capturing = on }

// Firmware says whether firmware or a boot loader runs, and no kernel yet.
func (t *Tracker) Firmware(on bool) { t.firmware = on }

// Progress returns the time of the last progress.
func (t *Tracker) Progress() time.Time { return t.progress }

// Resets returns how often the guest reset itself.
func (t *Tracker) Resets() int { return t.resets }

// Gaps returns the longest times without progress that were followed by
// progress, for the calibration of later boots.
func (t *Tracker) Gaps() (idle, busy time.Duration) { return t.gaps.IdleGap, t.gaps.BusyGap }

// Withdraw says that the last suspicion was wrong: the boot went on.
func (t *Tracker) Withdraw() { t.limits = t.limits.Doubled() }

// Works says that the vCPUs were seen to do real work, silent as it is.
func (t *Tracker) Works(at time.Time) { t.worked = at }

// Stands says that somebody has stopped the guest's vCPUs: it can make no progress, and is
// not judged by that until Stood.
func (t *Tracker) Stands() { t.stands = true }

// Stood says that they run again after some time, which does not count.
func (t *Tracker) Stood(d time.Duration) {
	t.stands = false
	for _, at := range []*time.Time{&t.start, &t.progress, &t.complained, &t.looked, &t.worked, &t.flood.from, &t.flood.last, &t.busy.from, &t.busy.last} {
		if !at.IsZero() {
			*at = at.Add(d)
		}
	}
}

// Saw takes something that the guest's memory shows: it is progress where it is new.
func (t *Tracker) Saw(at time.Time, what string) {
	if t.seen.add(console.Shape([]byte("memory: " + what))) {
		t.moved(at)
	}
}

// Rests says for how long the guest has made no progress with every vCPU idle; 0 where
// one was busy.
func (t *Tracker) Rests(now time.Time) time.Duration {
	if t.stands || !t.busy.known() || t.busy.mean() >= IdleShare {
		return 0
	}
	return now.Sub(t.progress)
}

// Spins says for how long the guest has made no progress with a vCPU busy all the time; 0
// where each rested at times, and in firmware.
func (t *Tracker) Spins(now time.Time) time.Duration {
	if t.stands || t.firmware || !t.busy.known() || t.busy.mean() < spinShare {
		return 0
	}
	return now.Sub(t.progress)
}

// Proven says that nothing more can come from a guest that has made no progress since a
// moment, and why.
func (t *Tracker) Proven(since time.Time, why string) {
	if t.progress.Equal(since) {
		t.proven = why
	}
}

// Looked says that the registers of a busy guest change (see Decision.Early), and
// whether they show that its vCPUs idle, whatever their threads do.
func (t *Tracker) Looked(at time.Time, rests bool) {
	t.looked = at
	if t.rested++; !rests {
		t.rested = 0
	}
}

// Limits returns the limits now in force.
func (t *Tracker) Limits() result.Limits { return t.limits }

// moved takes progress. Console and agent are told in turn, so that one may be
// told late; time never goes back.
func (t *Tracker) moved(at time.Time) {
	if at.Before(t.progress) {
		at = t.progress
	}
	gap := at.Sub(t.progress)
	if t.busy.mean() < IdleShare {
		t.gaps.IdleGap = max(t.gaps.IdleGap, gap)
	} else {
		t.gaps.BusyGap = max(t.gaps.BusyGap, gap)
	}
	t.progress, t.detector, t.flood, t.rested, t.proven = at, "", flood{}, 0, ""
	t.busy = meter{from: at}
}

// Decide says what is known at this moment.
func (t *Tracker) Decide(now time.Time) Decision {
	if t.goal.stage != "" && t.reached.there() {
		return t.over(scenarios.Booted, t.reached.why)
	}
	if t.resets >= 2 {
		return t.over(scenarios.Rebooting, "the guest has reset itself twice")
	}
	if e := t.ending; e.outcome != "" && (e.now || now.Sub(e.last) >= t.limits.Settle) {
		return t.over(e.outcome, e.why)
	}
	if a := t.reached; a.there() && t.ending.outcome == "" {
		if now.Sub(a.at) < t.limits.Settle {
			return Decision{State: Running, Since: t.progress}
		}
		return t.over(scenarios.Booted, a.why)
	}
	if t.stands {
		return Decision{State: Running, Since: t.progress}
	}
	return t.decideStall(now)
}

func (t *Tracker) decideStall(now time.Time) Decision {
	quiet := now.Sub(t.progress)
	rests := t.rested >= restful
	idle := rests || t.busy.mean() < IdleShare && t.busy.known()
	late := now.Sub(t.start) >= t.limits.Deadline
	d := Decision{State: Suspect, Since: t.progress, Idle: idle, Late: late, Firmware: t.firmware, Confidence: result.Likely}
	switch {
	case t.firmware && !late:
		// It polls its devices and loads files in silence, with interrupts off. One that
		// idles waits for a key, and a boot menu not for long.
		patience := 2 * t.limits.Busy
		if idle {
			patience = max(30*time.Second, 3*t.limits.Idle)
		}
		if quiet < patience {
			return Decision{State: Running, Since: t.progress, Idle: idle}
		}
		d.Confidence = result.Possible
		d.Why = fmt.Sprintf("no progress for %s in the firmware or the boot loader", round(quiet))
	case late && quiet < t.limits.Idle:
		return t.over(scenarios.Slow, fmt.Sprintf("still making progress at the deadline of %s", round(t.limits.Deadline)))
	case late && now.Sub(t.worked) < t.limits.Busy:
		return t.over(scenarios.Slow, fmt.Sprintf("no progress for %s, but still working at the deadline of %s", round(quiet), round(t.limits.Deadline)))
	case late:
		d.Confidence = result.Possible
		d.Why = fmt.Sprintf("no progress for %s at the deadline of %s", round(quiet), round(t.limits.Deadline))
	case t.proven != "":
		d.Confidence, d.Proven = result.Certain, true
		d.Why = fmt.Sprintf("no progress for %s, and none can come: %s", round(quiet), t.proven)
	case !t.spoke && quiet >= t.limits.Start:
		d.Confidence = result.Possible
		d.Why = fmt.Sprintf("nothing on the console for %s", round(quiet))
	case t.detector != "" && quiet >= t.limits.Idle/2:
		d.Why = fmt.Sprintf("no progress for %s, and the kernel says: %s", round(quiet), t.detector)
	case t.flood.lasts(now):
		d.Why = fmt.Sprintf("the same lines over and over for %s: %s", round(now.Sub(t.flood.from)), t.flood.text)
	case idle && t.spoke && quiet >= t.limits.Idle:
		d.Why = fmt.Sprintf("no progress for %s with every vCPU idle", round(quiet))
		if rests {
			d.Why += ", by its registers: the host keeps its thread busy"
		}
	case t.spoke && quiet >= t.limits.Busy:
		d.Confidence = result.Possible
		d.Why = fmt.Sprintf("no progress for %s while a vCPU is busy", round(quiet))
	case !idle && t.busy.known() && quiet >= t.limits.Look && now.Sub(t.looked) >= t.limits.Look:
		d.Early = true
		d.Why = fmt.Sprintf("no progress for %s while a vCPU spins: its registers do not change", round(quiet))
	default:
		return Decision{State: Running, Since: t.progress, Idle: idle}
	}
	return d
}

func (t *Tracker) over(o scenarios.Outcome, why string) Decision {
	return Decision{State: Over, Outcome: o, Why: why, Since: t.progress, Confidence: result.Certain}
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// meter is the mean of the busiest vCPU's share since a moment.
type meter struct {
	from, last time.Time
	sum        float64 // share times seconds
}

func (m *meter) add(at time.Time, share float64) {
	since := m.last
	if since.IsZero() {
		since = m.from
	}
	if d := at.Sub(since).Seconds(); d > 0 {
		m.sum += share * d
	}
	m.last = at
}

// known says whether anything was measured.
func (m *meter) known() bool { return !m.last.IsZero() && m.last.After(m.from) }

// mean is 1 where nothing was measured: only what was seen to idle is idle.
func (m *meter) mean() float64 {
	if !m.known() {
		return 1
	}
	return m.sum / m.last.Sub(m.from).Seconds()
}
