package dump

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// finishTitles sets Func and Title of every report.
func (p *parser) finishTitles() {
	for i := range p.d.Reports {
		rep := &p.d.Reports[i]
		if i+1 < len(p.d.Reports) {
			rep.takeTrace(&p.d.Reports[i+1])
		}
		p.work += len(rep.Frames) + len(rep.Text)
		ip := rep.IP
		if detected(rep) {
			ip = "" // an RIP in the detector's trace is what was interrupted
		}
		rep.Func = Guilty(ip, rep.Frames)
		if b := model.BaseName(ip); b != "" && rep.crashed() && !innocents.has(b) {
			rep.Func = b
		}
		switch rep.Kind {
		case ReportIRQ: // the trace is that of whoever was interrupted
			rep.Func = (&titleRule{}).pick(rep.said.at)
		case ReportPageAlloc:
			rep.Func = blame(rep, ip, allocators)
		case ReportWorkqueue:
			rep.Func = orElse(rep.said.work, rep.said.flight.work)
		}
		if isRustPanic(rep.Text) {
			rep.Func = blame(rep, "", nil)
		}
		rep.Title = printable(titleOf(rep, ip))
		// Whom the title blames is who is meant; of a hung task Func is where it waits.
		if i := strings.LastIndex(rep.Title, " in "); i >= 0 && rep.Kind != ReportPanic && rep.Kind != ReportHungTask {
			if fn := rep.Title[i+len(" in "):]; isSymbolName([]byte(fn)) {
				rep.Func = fn
			}
		}
		rep.said = reportWords{}
	}
}

// detected says that a report has the trace of the code that noticed a fault.
func detected(r *Report) bool {
	switch r.Kind {
	case ReportBug:
		return !isBugAt(r.Text) && !isRustPanic(r.Text) && len(r.Frames) > 0
	case ReportLockdep, ReportPageAlloc, ReportIRQ:
		return len(r.Frames) > 0
	}
	return false
}

// takeTrace gives a report the trace of the panic that came before its own could be
// printed: with panic_on_warn, until 6.1, __warn panics after its first line.
func (r *Report) takeTrace(next *Report) {
	const near = 512 // bytes
	if r.Kind != ReportPanic && len(r.Frames) == 0 && next.Kind == ReportPanic && next.Boot == r.Boot && next.Offset-r.End < near {
		r.Frames = next.Frames
		if r.Comm == "" {
			r.Comm, r.PID = next.Comm, next.PID
		}
	}
}

// maxTitle bounds a title, in bytes.
const maxTitle = 300

// printable replaces what is invisible or not UTF-8 by question marks.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, s[:min(len(s), maxTitle)])
	return strings.TrimSpace(s)
}

// titleRule gives the title of the reports whose first line begins with (or,
// for a text that begins with "*", holds) text. In the title %F is the function
// to blame (see blame), %1 the first word after text, %A what KASAN says was
// done ("Read" or "Write"), %L the function that lockdep names; fill has the others.
type titleRule struct {
	text  string
	title string
	// skip are functions that are not to blame for this kind of report, in addition
	// to the helpers.
	skip *patterns
	// at limits the rule to warnings in these functions, where it is set.
	at *patterns
}

// Functions that several rules skip.
var (
	freeing     = namesLike("*slab_* kfree* vunmap* vfree*")
	usercopy    = namesLike("*usercopy* __check_*")
	socketLocks = namesLike("*lock_sock* release_sock*")
	allocators  = namesLike("*alloc_pages* *get_free_pages* get_zeroed_page new_slab *kmalloc*")
	leaking     = namesLike("*kmemleak* *mmap* *kmem* *slab* *alloc* *create_object* idr_get* list_lru_init* __list_lru_init* *asprintf* pcpu_create* *strdup* *strndup* *memdup*")
	urbs        = namesLike("usb_submit_urb usb_start_wait_urb usb_bulk_msg usb_interrupt_msg usb_control_msg")
	// hangs wait for what others do; only what asked for the wait has a name.
	hangs = namesLike("*sched* *_lock* *_slowlock* down* *_down *_down_* *rwsem* *completion* *kthread* *wait* *synchronize* context_switch cancel_delayed_work* *rcu_barrier* *sleep*")
)

// titleRules are tried in order. The titles are those that syzbot gives, as far
// as it knows the report; the package comment lists where they differ.
var titleRules = []titleRule{
	// What the sanitizers say; their names end at " in ".
	{text: "BUG: KASAN: double-free", title: "KASAN: invalid-free in %F", skip: freeing},
	{text: "BUG: KASAN: invalid-free", title: "KASAN: invalid-free in %F", skip: freeing},
	{text: "BUG: KASAN: ", title: "KASAN: %1 %A in %F"},
	{text: "BUG: KMSAN: kernel-usb-infoleak", title: "KMSAN: kernel-usb-infoleak in %F", skip: urbs},
	{text: "BUG: KMSAN: ", title: "KMSAN: %I in %F", skip: namesLike("*alloc_skb* netlink_ack netlink_rcv_skb *_encrypt crypto_* cipher_* drbg_* rng_*")},
	{text: "BUG: KCSAN: ", title: "KCSAN: %R"},
	{text: "BUG: KFENCE: ", title: "KFENCE: %I in %F"},
	{text: "UBSAN: Undefined behaviour in", title: "UBSAN: undefined-behaviour in %F"},
	{text: "UBSAN: ", title: "UBSAN: %I in %F"},
	// Oopses: x86, then arm64 and others.
	{text: "BUG: unable to handle kernel NULL pointer dereference", title: nullDeref},
	{text: "BUG: kernel NULL pointer dereference", title: nullDeref}, // x86, 5.1
	{text: "BUG: Kernel NULL pointer dereference", title: nullDeref}, // powerpc
	{text: "BUG: unable to handle ", title: badPaging},               // "kernel paging request", "page fault for address" (5.1)
	{text: "BUG: Unable to handle kernel ", title: badPaging},        // powerpc
	{text: "Unable to handle kernel NULL pointer dereference", title: nullDeref},
	{text: "Unable to handle kernel paging request", title: badPaging},
	{text: "Unable to handle kernel pointer dereference", title: badPaging}, // s390
	{text: "Unable to handle kernel access to user memory", title: "BUG: unable to handle kernel access to user memory in %F"},
	{text: "Unable to handle kernel ", title: "Internal error in %F"}, // arm64's rarer faults: the title of the line that follows
	{text: "general protection fault", title: "general protection fault in %F"},
	{text: "segment-related general protection fault", title: "general protection fault in %F"},
	{text: "stack segment:", title: "stack segment fault in %F"},
	{text: "PANIC: double fault", title: "PANIC: double fault in %F"},
	{text: "double fault:", title: "PANIC: double fault in %F"},
	{text: "divide error:", title: "divide error in %F"},
	{text: "divide_error:", title: "divide error in %F"}, // so spelt from 5.8 on
	{text: "invalid opcode:", title: "invalid opcode in %F"},
	{text: "Internal error: ", title: "Internal error in %F"},
	{text: "Unhandled fault:", title: "Unhandled fault in %F"},
	{text: "Alignment trap:", title: "Alignment trap in %F"},
	{text: "SError Interrupt on CPU", title: "SError Interrupt in %F"},
	{text: "Bad mode in ", title: "Bad mode in %F"},
	// BUG and BUG().
	{text: "kernel BUG at mm/usercopy.c", title: "BUG: bad usercopy in %F", skip: usercopy},
	{text: "kernel BUG at lib/list_debug.c", title: "BUG: corrupted list in %F"},
	{text: "kernel BUG at ", title: "kernel BUG in %F", skip: namesLike("skb_*")},
	{text: "Kernel BUG at ", title: "kernel BUG in %F", skip: namesLike("skb_*")},
	{text: "Kernel bug detected", title: "kernel BUG in %F"}, // MIPS, LoongArch
	{text: "bad: scheduling from the idle thread", title: "bad: scheduling from the idle thread in %F", skip: namesLike("*schedule* dequeue_task*")},
	{text: "BUG: scheduling while atomic", title: "BUG: scheduling while atomic in %F", skip: namesLike("*schedule*")},
	{text: "BUG: sleeping function called from invalid context", title: "BUG: sleeping function called from invalid context in %F"},
	{text: "BUG: using ", title: "BUG: using %1 in preemptible code in %F", skip: namesLike("*preempt* debug_* *processor_id* *this_cpu*")},
	{text: "BUG: spinlock ", title: "BUG: spinlock %S in %F", skip: namesLike("*spin_* *_lock *_lock_* *_unlock *_unlock_*")},
	{text: "BUG: rwlock ", title: "BUG: rwlock %S in %F", skip: namesLike("*spin_* *_lock *_lock_* *_unlock *_unlock_*")},
	{text: "BUG: workqueue leaked lock or atomic", title: "BUG: workqueue leaked lock or atomic in %L"},
	{text: "BUG: workqueue lockup", title: "BUG: workqueue lockup in %W"},
	{text: rustPanic, title: "%M in %F"},
	{text: "trusty: panic", title: "trusty: %T"},
	{text: "BUG: lock held when returning to user space", title: "BUG: lock held when returning to user space in %L"},
	{text: "BUG: bad unlock balance", title: "BUG: bad unlock balance in %F"},
	{text: "BUG: held lock freed", title: "BUG: held lock freed in %L"},
	{text: "BUG: Invalid wait context", title: "WARNING: locking bug in %F", skip: socketLocks},
	{text: "BUG: memory leak", title: "memory leak in %F", skip: leaking},
	{text: unreferenced, title: "memory leak in %F", skip: leaking},
	{text: "BUG: Bad rss-counter state", title: "BUG: Bad rss-counter state"},
	{text: "BUG: non-zero nr_ptes on freeing mm", title: "BUG: non-zero nr_ptes on freeing mm"},
	{text: "BUG: non-zero nr_pmds on freeing mm", title: "BUG: non-zero nr_pmds on freeing mm"},
	{text: "BUG: Dentry ", title: "BUG: Dentry still in use in unmount"},
	{text: "BUG: Bad page map", title: "BUG: Bad page map"},
	{text: "BUG: Bad page ", title: "BUG: Bad page %1 in %O", skip: namesLike("*free_page *put_page *get_page *update_page *release_page free_unref_* *free_unref* folio* __folio* truncate_inode_pages* page_frag_free *alloc* *vmap* *page_owner*")},
	{text: "*stack guard page was hit at", title: "BUG: stack guard page was hit in %E"},
	{text: "*still has locks held!", title: "%K: still has locks held in %L"},
	// lockdep and RCU's checks, also as INFO before 4.12.
	{text: "*suspicious RCU usage", title: "%K: suspicious RCU usage in %F", skip: namesLike("rcu_* __rcu_* *_rcu *_rcu_* *srcu* *kmem* *slab*")},
	{text: "*possible circular locking dependency", title: "possible deadlock in %D", skip: namesLike("process_one_work *flush_workqueue drain_workqueue destroy_workqueue")},
	{text: "*possible irq lock inversion", title: "possible deadlock in %L"},
	{text: "*possible recursive locking", title: "possible deadlock in %L"},
	{text: "*-unsafe lock order detected", title: "possible deadlock in %D"},
	{text: "*inconsistent lock state", title: "inconsistent lock state in %F"},
	{text: "*trying to register non-static key", title: "INFO: trying to register non-static key in %F", skip: namesLike("*_stack *_stack_* *_lock *lock_* *_locked *IRQ*")},
	{text: "WARNING: bad unlock balance", title: "WARNING: bad unlock balance in %F"},
	{text: "WARNING: held lock freed", title: "WARNING: held lock freed in %L"},
	{text: "WARNING: lock held when returning to user space", title: "WARNING: lock held when returning to user space in %L"},
	{text: "WARNING: Nested lock was not taken", title: "WARNING: nested lock was not taken in %F"},
	// WARN(), by the file that warns.
	{text: "*lib/debugobjects.c:", title: "WARNING: ODEBUG bug in %F", skip: namesLike("*debug_* rcu_* __rcu_* *_rcu *_rcu_* *srcu* hrtimer_* timer_* *_timer_* work_* *_work_* percpu_* *_percpu_* *vunmap* *vfree* *__free_* kobject_*")},
	{text: "*mm/usercopy.c:", title: "WARNING: bad usercopy in %F", skip: usercopy},
	{text: "*lib/kobject.c:", title: "WARNING: kobject bug in %F", skip: namesLike("kobject_*")},
	{text: "*fs/proc/generic.c:", title: "WARNING: proc registration bug in %F", skip: namesLike("proc_* __proc_* *_proc_*")},
	{text: "*lib/refcount.c:", title: "WARNING: refcount bug in %F", skip: namesLike("refcount_* kobject_*")},
	{text: "*kernel/locking/lockdep.c:", title: "WARNING: locking bug in %F", skip: socketLocks, at: namesLike("*lock_*")},
	{text: "CFI failure", title: "WARNING: CFI failure in %C"},
	{text: "Kernel panic - not syncing: CFI failure", title: "kernel panic: CFI failure in %C"},
	{text: "WARNING: ", title: "WARNING in %F/usb_submit_urb", skip: urbs, at: namesLike("usb_submit_urb")},
	{text: "*mm/", title: "WARNING: kmalloc bug in %F", skip: namesLike("*kmalloc* krealloc* *slab* *kmem*"), at: namesLike("kmalloc* kvmalloc* vmalloc*")},
	{text: "*mm/vmalloc.c", title: "WARNING: zero-size vmalloc in %F", at: namesLike("__vmalloc_node*")},
	{text: "WARNING: kernel stack regs at ", title: "WARNING: kernel stack regs has bad %Q value"},
	{text: "WARNING: kernel stack frame pointer at ", title: "WARNING: kernel stack frame pointer has bad value"},
	{text: "WARNING: CPU:", title: "WARNING in %F"},
	// Panics.
	{text: "Kernel panic - not syncing: stack-protector:", title: "kernel panic: stack is corrupted in %P"},
	{text: "Kernel panic - not syncing: corrupted stack end", title: "kernel panic: corrupted stack end in %E", skip: namesLike("*schedule* retint_kernel")},
	{text: "Kernel panic - not syncing: kernel stack overflow", title: "kernel stack overflow in %E"},
	{text: "Kernel panic - not syncing: Couldn't open N_TTY ldisc", title: "kernel panic: Couldn't open N_TTY ldisc"},
	{text: "Kernel panic - not syncing: Fatal exception", title: "kernel panic: Fatal exception"},
	{text: "Kernel panic - not syncing: panic_on_warn set", title: "kernel panic: panic_on_warn set"},
	{text: "Kernel panic - not syncing: Out of memory", title: "kernel panic: Out of memory"},
	{text: "VFS: Close: file count is 0", title: "VFS: Close: file count is zero (use-after-free)"},
	{text: "VFS: Busy inodes after unmount", title: "VFS: Busy inodes after unmount (use-after-free)"},
	{text: "unregister_netdevice: waiting for ", title: "unregister_netdevice: waiting for DEV to become free"},
}

const (
	nullDeref = "BUG: unable to handle kernel NULL pointer dereference in %F"
	badPaging = "BUG: unable to handle kernel paging request in %F"
)

// titleOf makes the title of a report. ip is the function of the instruction
// pointer where that is the culprit's.
func titleOf(r *Report, ip string) string {
	switch r.Kind {
	case ReportSoft:
		return inFunc("BUG: soft lockup", stallFunc(r, ip))
	case ReportHard:
		return inFunc("BUG: hard lockup", r.Func)
	case ReportRCU:
		return stallTitle(r, ip)
	case ReportHungTask:
		if strings.Contains(r.Text, "can't die for more than") {
			return inFunc("INFO: task can't die", blame(r, "", namesLike("*schedule*")))
		}
		return inFunc("INFO: task hung", hungFunc(r))
	case ReportOOM:
		return "out of memory"
	case ReportPageAlloc:
		return inFunc("page allocation failure", r.Func)
	case ReportIRQ: // irq 16: nobody cared (try booting with the "irqpoll" option)
		s, _, _ := strings.Cut(r.Text, " (")
		return s
	case ReportReboot:
		return "reboot: " + strings.TrimSuffix(strings.TrimPrefix(r.Text, "reboot: "), ".")
	}
	text := strings.TrimPrefix(r.Text, "Oops: ") // x86 from 6.11 on
	for i := range titleRules {
		rule := &titleRules[i]
		if rule.at != nil && (r.Kind != ReportWarning || !rule.at.has(model.BaseName(ip))) {
			continue
		}
		if part, ok := strings.CutPrefix(rule.text, "*"); ok && strings.Contains(text, part) || strings.HasPrefix(text, rule.text) {
			return rule.fill(r, text, ip)
		}
	}
	switch {
	case r.Kind == ReportPanic:
		return "kernel panic: " + Normalise(strings.TrimPrefix(text, "Kernel panic - not syncing: "))
	case r.Kind == ReportBug:
		s, _, _ := strings.Cut(text, " at ") // the rest is a source line or an address
		return inFunc(Normalise(s), r.Func)
	}
	if rest, ok := strings.CutPrefix(text, "WARNING: "); ok {
		if r.Func == "" {
			return "WARNING: " + Normalise(rest)
		}
		return "WARNING in " + blame(r, ip, nil)
	}
	if i := strings.IndexAny(text, ":["); i > 0 {
		text = text[:i]
	}
	if text == "" || isDigit(text[0]) { // the line before it was lost
		text = "Oops"
	}
	return inFunc(strings.TrimSpace(Normalise(text)), r.Func)
}

func inFunc(s, fn string) string {
	if fn == "" {
		return s
	}
	return s + " in " + fn
}

// fill puts the facts into the rule's title. An unknown part leaves no gap, and no
// "in" without a function.
func (rule *titleRule) fill(r *Report, text, ip string) string {
	rest := strings.TrimSpace(strings.TrimPrefix(text, strings.TrimPrefix(rule.text, "*")))
	first, _, _ := strings.Cut(rest, " ")
	kind, _, _ := strings.Cut(rest, " in ")
	said := &r.said
	var b strings.Builder
	for s := rule.title; s != ""; {
		i := strings.IndexByte(s, '%')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		switch s[i+1] {
		case 'F':
			b.WriteString(rustName(blame(r, ip, rule.skip)))
		case 'P': // a function printed in the text itself, else as %F
			b.WriteString(orElse(symbolAfter(text, "corrupted in: "), blame(r, ip, rule.skip)))
		case 'D': // the locks' functions, then the trace
			b.WriteString(orElse(rule.pick(said.at), blame(r, "", rule.skip)))
		case 'L':
			b.WriteString(orElse(rule.pick(said.at), orElse(firstOf(said.at), r.Func)))
		case 'Q': // a word in quotes, with them
			b.WriteString(quoted(text))
		case 'O': // who allocated the page, if the kernel keeps that
			b.WriteString(rule.pick(said.at))
		case 'E':
			b.WriteString(stallFunc(r, ip))
		case 'C':
			b.WriteString(cfiOf(r, text, ip))
		case 'W': // the work item of the worker whose stack is shown
			b.WriteString(said.work)
		case 'M':
			b.WriteString(rustMessage(r))
		case 'T':
			b.WriteString(trustyMessage(text))
		case 'A':
			b.WriteString(said.access)
		case 'K':
			b.WriteString(strings.TrimSuffix(orElse(text[:max(0, strings.IndexByte(text, ' '))], "WARNING:"), ":"))
		case 'R':
			b.WriteString(raceOf(rest))
		case 'I':
			b.WriteString(Normalise(kind))
		case 'S': // "bad magic on CPU#0, ..."
			state, _, _ := strings.Cut(rest, " on CPU")
			b.WriteString(Normalise(state))
		case '1':
			b.WriteString(Normalise(strings.TrimRight(first, ",:!")))
		}
		s = s[i+2:]
	}
	title := strings.Join(strings.Fields(b.String()), " ")
	title = strings.Replace(title, " in /", " in ", 1)
	return strings.TrimSuffix(title, " in")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func firstOf(fns []string) string {
	if len(fns) == 0 {
		return ""
	}
	return PlainName(fns[0])
}

// pick returns the first of the functions that may be to blame.
func (rule *titleRule) pick(fns []string) string {
	for _, fn := range fns {
		if b := model.BaseName(fn); !rule.skip.has(b) && !allHelpers.has(b) {
			return PlainName(fn)
		}
	}
	return ""
}

// quoted returns the first word in single quotes, with them.
func quoted(text string) string {
	_, rest, ok := strings.Cut(text, "'")
	word, _, closed := strings.Cut(rest, "'")
	if !ok || !closed {
		return ""
	}
	return "'" + word + "'"
}

// raceOf reads `data-race in a / b` and takes the compilers' suffixes off.
func raceOf(s string) string {
	out := strings.Fields(s)
	for i, w := range out {
		if i > 0 && w != "/" && w != "in" {
			name, _, _ := strings.Cut(w, "+")
			out[i] = model.BaseName(name)
		}
	}
	return strings.Join(out[:min(len(out), 8)], " ")
}

// symbolAfter returns the function after a word of the text, "" for an address.
func symbolAfter(text, after string) string {
	_, rest, ok := strings.Cut(text, after)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "+")
	if !isSymbolName([]byte(name)) || allHex([]byte(strings.TrimPrefix(name, "0x"))) {
		return ""
	}
	return PlainName(name)
}

func isBugAt(text string) bool {
	return strings.HasPrefix(text, "kernel BUG at ") || strings.HasPrefix(text, "Kernel BUG at ")
}

// hungFunc names the function of a hung task. All that wait for RCU or the rtnl
// lock share a title each: they are victims, not culprits.
func hungFunc(r *Report) string {
	chain := model.Trusted(r.Frames)
	for _, f := range chain {
		switch b := f.Base(); {
		case b == "rtnl_lock" || b == "rtnl_lock_killable" || b == "rtnl_lock_interruptible":
			return b
		case strings.HasPrefix(b, "synchronize_rcu"), strings.HasPrefix(b, "synchronize_srcu"), b == "synchronize_net", b == "synchronize_sched":
			return "synchronize_rcu"
		}
	}
	return blame(r, "", hangs)
}
