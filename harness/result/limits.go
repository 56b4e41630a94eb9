package result

import "time"

// Limits are all the times by which a boot is judged. They are wall times;
// Scale makes them from what a known-good boot took on this host under this
// accelerator, so that a slow host waits longer and a fast one does not.
type Limits struct {
	// Start: nothing at all on the console for this long is suspect. The
	// early console speaks before the kernel has set up anything.
	Start time.Duration `json:"start_ns"`
	// Idle: no progress for this long, all vCPUs idle. A boot has work to do;
	// where it idles it waits for something.
	Idle time.Duration `json:"idle_ns"`
	// Look: no progress for this long, a vCPU running: its registers are
	// looked at, for about as long as is missing to Idle. Where they do not
	// change it computes nothing, and waiting longer would show no more.
	Look time.Duration `json:"look_ns"`
	// Busy: no progress for this long, a vCPU running. Real work may be
	// silent for long (self-tests, unpacking), so this is much longer.
	Busy time.Duration `json:"busy_ns"`
	// Confirm: from when it is suspect the guest gets this long to show that it
	// was only slow, and at least half of it after the capture.
	Confirm time.Duration `json:"confirm_ns"`
	// Settle: a panic's or a halt's text is complete after this much silence.
	Settle time.Duration `json:"settle_ns"`
	// Hold: a timer that user space has armed, and that is due within this
	// time, is waited for before a stall counts as a hang.
	Hold time.Duration `json:"hold_ns"`
	// Deadline: the boot ends here whatever it does.
	Deadline time.Duration `json:"deadline_ns"`
}

// Reference is what a known-good boot took.
type Reference struct {
	// Unit is the wall time from the start of QEMU to the first report of the
	// agent in the tiny initramfs.
	Unit time.Duration `json:"unit_ns"`
	// IdleGap and BusyGap are the longest times without progress that good
	// boots of the same kind of image showed, 0 where none was seen yet.
	IdleGap time.Duration `json:"idle_gap_ns,omitempty"`
	BusyGap time.Duration `json:"busy_gap_ns,omitempty"`
}

// Doubled returns the limits after a suspicion that was wrong: this guest is
// given more time before the next one.
func (l Limits) Doubled() Limits {
	l.Start *= 2
	l.Idle *= 2
	l.Look *= 2
	l.Busy *= 2
	l.Confirm *= 2
	return l
}
