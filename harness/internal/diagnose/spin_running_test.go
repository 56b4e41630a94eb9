package diagnose

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// Memory is read while an interrupt begins, which hides the innermost routine of the lock:
// who takes the lock is named all the same.
func TestSpinsForALockUnderAnInterrupt(t *testing.T) {
	for stack, want := range map[string]string{
		"vectors __mutex_lock.constprop.0 __mutex_lock_slowpath mutex_lock take_it do_one_initcall kernel_init ret_from_fork": "take_it",
		"vectors do_work mutex_lock take_it do_one_initcall kernel_init ret_from_fork":                                        "mutex_spin_on_owner",
		"__mutex_lock.constprop.0 mutex_lock take_it do_one_initcall kernel_init ret_from_fork":                               "take_it",
	} {
		task := blocked(1, "swapper/0", "R", stack)
		task.Running = true
		d := Diagnose(Input{
			Dump: parsed("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.400000] smp: Brought up 1 node, 1 CPU\n"), Ending: EndingSilent,
			Memory: []model.Task{task}, VCPUs: []VCPU{{Symbol: "mutex_spin_on_owner+0x7c/0xbc", BusyFraction: 1}},
		})
		if d.Function != want {
			t.Errorf("%s: %q in %q, want %q", stack, d.Function, d.Title, want)
		}
	}
}
