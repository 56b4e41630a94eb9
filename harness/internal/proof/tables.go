package proof

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// keeping is housekeeping of the kernel: work that is done again and again and that no
// boot waits for.
type keeping struct {
	why string
	// but is the function of a task that may wait for it after all; "" for none.
	but string
	// idle says that it has nothing to do; nil: it needs no saying.
	idle func(v *guestmem.View) bool
}

// random is where a task waits that wants random numbers of a generator without a seed
// (drivers/char/random.c).
const random = "wait_for_random_bytes"

// poll is a place where a task wakes up by its own timer only to look at something again,
// for as long as it takes: its timer alone never lets it go on.
type poll struct {
	why   string
	sleep string        // the function that it sleeps in there
	every time.Duration // how often it looks
	// same says that what it looks at has not come nearer between two looks.
	same func(a, b *guestmem.View) bool
}

// polls are such places, by their functions.
var polls = map[string]poll{
	random: {
		why:   "looks each second whether the random number generator has its seed",
		sleep: "schedule_timeout", every: time.Second,
		same: func(a, b *guestmem.View) bool {
			return a.Randomness != nil && bytes.Equal(a.Randomness, b.Randomness)
		},
	},
}

// polling is the place where a task does so; "" for none.
func polling(t *model.Task) string {
	for i, f := range t.Frames {
		if p, ok := polls[f.Base()]; ok && i > 0 && t.Frames[i-1].Base() == p.sleep {
			return f.Base()
		}
	}
	return ""
}

// calls are functions of timers.
var calls = map[string]keeping{
	"tick_sched_timer":         {why: "the tick (kernel/time/tick-sched.c); what it runs are the other timers"},
	"tick_nohz_handler":        {why: "the tick since 6.8"},
	"watchdog_timer_fn":        {why: "the soft-lockup watchdog (kernel/watchdog.c)"},
	"clocksource_watchdog":     {why: "compares clocks (kernel/time/clocksource.c)"},
	"sched_clock_poll":         {why: "keeps sched_clock from wrapping (kernel/time/sched_clock.c)"},
	"idle_worker_timeout":      {why: "ends idle kworkers (kernel/workqueue.c)"},
	"tcp_orphan_update":        {why: "counts sockets (net/ipv4/tcp.c)"},
	"mce_timer_fn":             {why: "polls machine checks (arch/x86/kernel/cpu/mce/core.c)"},
	"dl_task_timer":            {why: "refills the deadline server (kernel/sched/deadline.c)"},
	"dl_server_timer":          {why: "the same since 6.12"},
	"inactive_task_timer":      {why: "accounts for a deadline task that sleeps (kernel/sched/deadline.c)"},
	"sched_rt_period_timer":    {why: "refills the real-time bandwidth (kernel/sched/rt.c)"},
	"perf_swevent_hrtimer":     {why: "samples (kernel/events/core.c)"},
	"perf_mux_hrtimer_handler": {why: "takes turns with counters (kernel/events/core.c)"},
	"rcu_stall_kick_kthreads":  {why: "complains (kernel/rcu/tree_stall.h)"},
}

// works are functions of work items that are queued later.
var works = map[string]keeping{
	"vmstat_shepherd":            {why: "counts pages (mm/vmstat.c)"},
	"vmstat_update":              {why: "counts pages (mm/vmstat.c)"},
	"flush_memcg_stats_dwork":    {why: "counts pages (mm/memcontrol.c)"},
	"psi_avgs_work":              {why: "averages pressure (kernel/sched/psi.c)"},
	"cache_reap":                 {why: "shrinks slab's caches (mm/slab.c)"},
	"neigh_managed_work":         {why: "neighbours of a network that is not there (net/core/neighbour.c)"},
	"neigh_periodic_work":        {why: "the same"},
	"check_lifetime":             {why: "ages addresses (net/ipv4/devinet.c)"},
	"addrconf_verify_work":       {why: "ages addresses (net/ipv6/addrconf.c)"},
	"wakeup_dirtytime_writeback": {why: "writes time stamps of inodes (fs/fs-writeback.c)"},
	"ima_keys_handler":           {why: "gives up waiting for a policy (security/integrity/ima)"},
	"fill_ptr_key_workfn":        {why: "waits for a key to print pointers with (lib/vsprintf.c)"},
	"crng_reseed":                {why: "replaces a seed (drivers/char/random.c)", but: random},
	"cec_work_fn":                {why: "forgets corrected errors (drivers/ras/cec.c)"},
	"mce_work_trigger":           {why: "polls machine checks"},
	"sync_hw_clock":              {why: "sets the clock's chip (kernel/time/ntp.c)"},
	"kfree_rcu_monitor":          {why: "frees memory (kernel/rcu/tree.c)"},
	"clocksource_watchdog_work":  {why: "compares clocks (kernel/time/clocksource.c)"},
	"pcpu_balance_workfn":        {why: "fills the per-CPU allocator (mm/percpu.c)"},
	"toggle_allocation_gate":     {why: "KFENCE's sampling (mm/kfence/core.c)"},
	"deferred_probe_timeout_work_func": {
		why: "gives up waiting for drivers (drivers/base/dd.c)", but: "wait_for_device_probe",
		idle: func(v *guestmem.View) bool { return v.NothingDeferred },
	},
	"lru_add_drain_per_cpu": {why: "moves pages (mm/swap.c)"},
}

// threads are kernel threads that wake up from time to time, by the beginnings of their
// names.
var threads = []struct {
	name string
	keeping
}{
	{"kcompactd", keeping{why: "moves pages together (mm/compaction.c)"}},
	{"khugepaged", keeping{why: "joins pages (mm/khugepaged.c)"}},
	{"ksmd", keeping{why: "shares pages (mm/ksm.c)"}},
	{"kdamond", keeping{why: "watches accesses (mm/damon/core.c)"}},
	{"khungtaskd", keeping{why: "complains of hung tasks (kernel/hung_task.c)"}},
	{"watchdogd", keeping{why: "feeds a watchdog (drivers/watchdog)"}},
	{"hwrng", keeping{why: "adds random numbers (drivers/char/hw_random/core.c)", but: random}},
}

// thread says what a kernel thread does that wakes up.
func thread(t *model.Task) (keeping, bool) {
	if !t.KernelThread {
		return keeping{}, false
	}
	for _, h := range threads {
		if rest, ok := strings.CutPrefix(t.Comm, h.name); ok && strings.Trim(rest, ".0123456789") == "" {
			return h.keeping, true
		}
	}
	return keeping{}, false
}

// housekeeper says that a task may run without anything going on: the workers of
// workqueues, too, for what is queued to them stands in works.
func housekeeper(t *model.Task) bool {
	if !t.KernelThread {
		return false
	}
	_, ok := thread(t)
	for _, p := range []string{"kworker/", "ksoftirqd/", "ktimers/", "rcu", "migration/", "idle_inject/", "cpuhp/"} {
		ok = ok || strings.HasPrefix(t.Comm, p)
	}
	return ok
}

// answers are functions in which a task waits for what QEMU does not count.
var answers = map[string]string{
	"virtio_read":          "waits for the random numbers of virtio-rng",
	"n_tty_write":          "waits for a terminal to take what it writes",
	"tty_wait_until_sent":  "waits for a terminal to take what it wrote",
	"uart_wait_until_sent": "waits for a terminal to take what it wrote",
	"rtc_dev_read":         "waits for an alarm of the real-time clock",
	"usb_start_wait_urb":   "waits for a USB device",
	"ata_exec_internal_sg": "waits for a disk",
	"nvme_submit_sync_cmd": "waits for a disk",
}

// outside says for what a task waits that may still come; "" for nothing.
func outside(t *model.Task) string {
	for _, f := range t.Frames {
		if why, ok := answers[f.Base()]; ok {
			return fmt.Sprintf("%s (PID %d) %s", t.Comm, t.PID, why)
		}
	}
	return ""
}
