package diagnose_test

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/result"
)

// Every key hits a program that computes on its way into the kernel or out of it,
// and the registers show where it is nearly always.
func TestAProgramThatSpinsIsNotInTheKernel(t *testing.T) {
	const met = `[    0.000000] Linux version 6.1.0-50-cloud-amd64 (a@b) #1 SMP
[    1.000000] Run /init as init process
[    8.896000] sysrq: Show State
[    8.896282] task:init            state:R  running task     stack:0     pid:1     ppid:0      flags:0x00000008
[    8.897175] Call Trace:
[    8.897655]  <IRQ>
[    8.897965]  sched_show_task.cold+0xce/0xdc
[    8.898471]  show_state_filter+0x54/0xe0
[    8.898539]  sysrq_handle_showstate+0xc/0x20
[    8.898946]  handle_irq_event+0x34/0x70
[    8.899059]  __common_interrupt+0x3f/0xa0
[    8.899159]  common_interrupt+0x7d/0xa0
[    8.899170]  </IRQ>
[    8.899180]  <TASK>
[    8.899190]  asm_common_interrupt+0x22/0x40
[    8.899200] RIP: 0010:WHERE+0x9/0x30
[    8.899210]  WHERE+0x9/0x30
[    8.899220]  asm_sysvec_apic_timer_interrupt+0x16/0x20
[    8.899230]  </TASK>
[    9.611000] sysrq: Show backtrace of all active CPUs
[    9.611819] NMI backtrace for cpu 0
[    9.611968] CPU: 0 PID: 1 Comm: init Not tainted 6.1.0-50-cloud-amd64 #1
[    9.612259] Call Trace:
[    9.612340]  <IRQ>
[    9.612389]  dump_stack_lvl+0x44/0x5c
[    9.612484]  nmi_cpu_backtrace.cold+0x32/0x79
[    9.612941]  handle_irq_event+0x34/0x70
[    9.613059]  __common_interrupt+0x3f/0xa0
[    9.613159]  common_interrupt+0x7d/0xa0
[    9.613170]  </IRQ>
[    9.613180]  <TASK>
[    9.613190]  asm_common_interrupt+0x22/0x40
[    9.613200] RIP: 0010:WHERE+0x9/0x30
[    9.613210]  WHERE+0x9/0x30
[    9.613220]  asm_sysvec_apic_timer_interrupt+0x16/0x20
[    9.613230]  </TASK>
`
	user := []diagnose.VCPU{{PC: 0x4ed661, User: true, BusyFraction: 1}}
	kernel := []diagnose.VCPU{{PC: 1, Symbol: "do_it+0x9/0x30", BusyFraction: 1}}
	for name, tt := range map[string]struct {
		where string
		vcpus []diagnose.VCPU
		spins bool
	}{
		"on its way out":          {"irqentry_exit_to_user_mode", nil, false},
		"registers in user space": {"do_it", user, false},
		"in the kernel":           {"do_it", kernel, true},
	} {
		log := strings.ReplaceAll(met, "WHERE", tt.where)
		d := diagnose.Diagnose(diagnose.Input{Dump: parsed(log), Ending: diagnose.EndingSilent, VCPUs: tt.vcpus})
		if spins := d.Kind == result.KindLockup; spins != tt.spins {
			t.Errorf("%s: %s/%s %q", name, d.Kind, d.Cause, d.Title)
		}
	}
}
