package result

import "time"

// Limits are the times by which a boot is judged, all in wall time. They are
// scaled from what a known-good boot took on this host with this accelerator, so
// that a slow host waits longer than a fast one.
type Limits struct {
	// Start is how long the console may stay empty. The early console prints
	// before the kernel has set up anything.
	Start time.Duration `json:"start_ns"`
	// Idle is how long the boot may make no progress while all vCPUs idle. A boot
	// has work to do; if it idles, it waits for something.
	Idle time.Duration `json:"idle_ns"`
	// Look is how long the boot may make no progress while a vCPU runs before its
	// registers are sampled. If the samples do not differ, the vCPU computes
	// nothing, and the boot is suspect after Idle.
	Look time.Duration `json:"look_ns"`
	// Busy is how long the boot may make no progress while a vCPU runs. Real work
	// may be silent for long (self-tests, unpacking), so this is much longer than
	// Idle.
	Busy time.Duration `json:"busy_ns"`
	// Confirm is how long a suspect guest gets to show that it was only slow. At
	// least half of it passes after the capture.
	Confirm time.Duration `json:"confirm_ns"`
	// Settle is how long the console must be silent before the text of a panic or
	// a halt counts as complete.
	Settle time.Duration `json:"settle_ns"`
	// Hold is the longest wait for a user-space timer: a timer that expires within
	// this time is waited for before a stall counts as a hang.
	Hold time.Duration `json:"hold_ns"`
	// Deadline is when the boot is ended, whatever it does.
	Deadline time.Duration `json:"deadline_ns"`
}

// Reference is what a known-good boot took on this host, in wall time.
type Reference struct {
	// Unit is the time from the start of QEMU to the agent's first report from
	// the tiny initramfs.
	Unit time.Duration `json:"unit_ns"`
	// IdleGap is the longest time without progress, all vCPUs idle, in good boots
	// of images of the same kind; 0 if there was none yet.
	IdleGap time.Duration `json:"idle_gap_ns,omitempty"`
	// BusyGap is the longest time without progress, a vCPU busy, in good boots of
	// images of the same kind; 0 if there was none yet.
	BusyGap time.Duration `json:"busy_gap_ns,omitempty"`
}

// Doubled returns the limits after a suspicion that was wrong: the guest gets
// more time before the next one.
func (l Limits) Doubled() Limits {
	l.Start *= 2
	l.Idle *= 2
	l.Look *= 2
	l.Busy *= 2
	l.Confirm *= 2
	return l
}
