package dump

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// finishTitles sets Func and Title of every report.
func (p *parser) finishTitles() {
	for i := range p.d.Reports {
		rep := &p.d.Reports[i]
		p.work += len(rep.Frames) + len(rep.Text)
		ip := rep.IP
		if rep.Kind == ReportBug && !isBugAt(rep.Text) && len(rep.Frames) > 0 {
			ip = "" // the trace of the detector: an RIP in it is what was interrupted
		}
		rep.Func = Guilty(ip, rep.Frames)
		if b := model.BaseName(ip); b != "" && rep.crashed() && !innocents.has(b) {
			rep.Func = b
		}
		rep.Title = printable(titleOf(rep, ip))
		rep.said = reportWords{}
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
}

// Functions that several rules skip.
var (
	freeing     = namesLike("*slab_* kfree* vunmap* vfree*")
	usercopy    = namesLike("*usercopy* __check_*")
	socketLocks = namesLike("*lock_sock* release_sock*")
	urbs        = namesLike("usb_submit_urb usb_start_wait_urb usb_bulk_msg usb_interrupt_msg usb_control_msg")
	// hangs wait for what others do; only what asked for the wait has a name.
	hangs = namesLike("*sched* *_lock* *_slowlock* down* *_down *_down_* *rwsem* *completion* *kthread* *wait* *synchronize* context_switch cancel_delayed_work* *rcu_barrier* *sleep*")
)

// titleRules are tried in order. The titles are those that syzbot gives, as far
// as it knows the report; the package comment lists where they differ.
var titleRules = []titleRule{
	// What the sanitizers say; their names end at " in ".
	{"BUG: KASAN: double-free", "KASAN: invalid-free in %F", freeing},
	{"BUG: KASAN: invalid-free", "KASAN: invalid-free in %F", freeing},
	{"BUG: KASAN: ", "KASAN: %1 %A in %F", nil},
	{"BUG: KMSAN: kernel-usb-infoleak", "KMSAN: kernel-usb-infoleak in %F", urbs},
	{"BUG: KMSAN: ", "KMSAN: %1 in %F", namesLike("*alloc_skb* netlink_ack netlink_rcv_skb *_encrypt crypto_* cipher_* drbg_* rng_*")},
	{"BUG: KCSAN: ", "KCSAN: %R", nil},
	{"BUG: KFENCE: ", "KFENCE: %I in %F", nil},
	{"UBSAN: Undefined behaviour in", "UBSAN: undefined-behaviour in %F", nil},
	{"UBSAN: ", "UBSAN: %I in %F", nil},
	// Oopses: x86, then arm64 and others.
	{"BUG: unable to handle kernel NULL pointer dereference", nullDeref, nil},
	{"BUG: kernel NULL pointer dereference", nullDeref, nil}, // x86, 5.1
	{"BUG: Kernel NULL pointer dereference", nullDeref, nil}, // powerpc
	{"BUG: unable to handle ", badPaging, nil},               // "kernel paging request", "page fault for address" (5.1)
	{"BUG: Unable to handle kernel ", badPaging, nil},        // powerpc
	{"Unable to handle kernel NULL pointer dereference", nullDeref, nil},
	{"Unable to handle kernel paging request", badPaging, nil},
	{"Unable to handle kernel access to user memory", "BUG: unable to handle kernel access to user memory in %F", nil},
	{"Unable to handle kernel ", "Internal error in %F", nil}, // arm64's rarer faults: the title of the line that follows
	{"general protection fault", "general protection fault in %F", nil},
	{"segment-related general protection fault", "general protection fault in %F", nil},
	{"stack segment:", "stack segment fault in %F", nil},
	{"PANIC: double fault", "PANIC: double fault in %F", nil},
	{"double fault:", "PANIC: double fault in %F", nil},
	{"divide error:", "divide error in %F", nil},
	{"divide_error:", "divide error in %F", nil}, // so spelt from 5.8 on
	{"invalid opcode:", "invalid opcode in %F", nil},
	{"Internal error: ", "Internal error in %F", nil},
	{"Unhandled fault:", "Unhandled fault in %F", nil},
	{"Alignment trap:", "Alignment trap in %F", nil},
	{"SError Interrupt on CPU", "SError Interrupt in %F", nil},
	{"Bad mode in ", "Bad mode in %F", nil},
	// BUG and BUG().
	{"kernel BUG at mm/usercopy.c", "BUG: bad usercopy in %F", usercopy},
	{"kernel BUG at lib/list_debug.c", "BUG: corrupted list in %F", nil},
	{"kernel BUG at ", "kernel BUG in %F", namesLike("skb_*")},
	{"Kernel BUG at ", "kernel BUG in %F", namesLike("skb_*")},
	{"BUG: scheduling while atomic", "BUG: scheduling while atomic in %F", namesLike("*schedule*")},
	{"BUG: sleeping function called from invalid context", "BUG: sleeping function called from invalid context in %F", nil},
	{"BUG: using ", "BUG: using %1 in preemptible code in %F", namesLike("*preempt* debug_* *processor_id* *this_cpu*")},
	{"BUG: spinlock ", "BUG: spinlock %S in %F", namesLike("*spin_* *_lock *_lock_* *_unlock *_unlock_*")},
	{"BUG: rwlock ", "BUG: rwlock %S in %F", namesLike("*spin_* *_lock *_lock_* *_unlock *_unlock_*")},
	{"BUG: workqueue leaked lock or atomic", "BUG: workqueue leaked lock or atomic in %L", nil},
	{"BUG: workqueue lockup", "BUG: workqueue lockup", nil},
	{"BUG: lock held when returning to user space", "BUG: lock held when returning to user space in %L", nil},
	{"BUG: bad unlock balance", "BUG: bad unlock balance in %F", nil},
	{"BUG: held lock freed", "BUG: held lock freed in %L", nil},
	{"BUG: Invalid wait context", "WARNING: locking bug in %F", socketLocks},
	{"BUG: memory leak", "memory leak in %F", namesLike("*kmemleak* *mmap* *kmem* *slab* *alloc* *create_object* idr_get* list_lru_init* __list_lru_init* *asprintf* pcpu_create* *strdup* *strndup* *memdup*")},
	{"BUG: Bad rss-counter state", "BUG: Bad rss-counter state", nil},
	{"BUG: non-zero nr_ptes on freeing mm", "BUG: non-zero nr_ptes on freeing mm", nil},
	{"BUG: non-zero nr_pmds on freeing mm", "BUG: non-zero nr_pmds on freeing mm", nil},
	{"BUG: Dentry ", "BUG: Dentry still in use in unmount", nil},
	{"BUG: Bad page map", "BUG: Bad page map", nil},
	{"BUG: Bad page ", "BUG: Bad page %1 in %O", namesLike("*free_page *put_page *get_page *update_page *release_page free_unref_* *free_unref* folio* __folio* truncate_inode_pages* page_frag_free *alloc* *vmap* *page_owner*")},
	{"*stack guard page was hit at", "BUG: stack guard page was hit in %E", nil},
	{"*still has locks held!", "%K: still has locks held in %L", nil},
	// lockdep and RCU's checks, also as INFO before 4.12.
	{"*suspicious RCU usage", "%K: suspicious RCU usage in %F", namesLike("rcu_* __rcu_* *_rcu *_rcu_* *srcu* *kmem* *slab*")},
	{"*possible circular locking dependency", "possible deadlock in %D", namesLike("process_one_work *flush_workqueue drain_workqueue destroy_workqueue")},
	{"*possible irq lock inversion", "possible deadlock in %L", nil},
	{"*possible recursive locking", "possible deadlock in %L", nil},
	{"*-unsafe lock order detected", "possible deadlock in %D", nil},
	{"*inconsistent lock state", "inconsistent lock state in %F", nil},
	{"*trying to register non-static key", "INFO: trying to register non-static key in %F", namesLike("*_stack *_stack_* *_lock *lock_* *_locked *IRQ*")},
	{"WARNING: bad unlock balance", "WARNING: bad unlock balance in %F", nil},
	{"WARNING: held lock freed", "WARNING: held lock freed in %L", nil},
	{"WARNING: lock held when returning to user space", "WARNING: lock held when returning to user space in %L", nil},
	{"WARNING: Nested lock was not taken", "WARNING: nested lock was not taken in %F", nil},
	// WARN(), by the file that warns.
	{"*lib/debugobjects.c:", "WARNING: ODEBUG bug in %F", namesLike("*debug_* rcu_* __rcu_* *_rcu *_rcu_* *srcu* hrtimer_* timer_* *_timer_* work_* *_work_* percpu_* *_percpu_* *vunmap* *vfree* *__free_* kobject_*")},
	{"*mm/usercopy.c:", "WARNING: bad usercopy in %F", usercopy},
	{"*lib/kobject.c:", "WARNING: kobject bug in %F", namesLike("kobject_*")},
	{"*fs/proc/generic.c:", "WARNING: proc registration bug in %F", namesLike("proc_* __proc_* *_proc_*")},
	{"*lib/refcount.c:", "WARNING: refcount bug in %F", namesLike("refcount_* kobject_*")},
	{"*kernel/locking/lockdep.c:", "WARNING: locking bug in %F", socketLocks},
	{"CFI failure", "WARNING: CFI failure in %C", nil},
	{"Kernel panic - not syncing: CFI failure", "kernel panic: CFI failure in %C", nil},
	{"*usb_submit_urb", "WARNING in %F/usb_submit_urb", urbs},
	{"WARNING: kernel stack regs at ", "WARNING: kernel stack regs has bad value", nil},
	{"WARNING: kernel stack frame pointer at ", "WARNING: kernel stack frame pointer has bad value", nil},
	{"WARNING: CPU:", "WARNING in %F", nil},
	// Panics.
	{"Kernel panic - not syncing: stack-protector:", "kernel panic: stack is corrupted in %P", nil},
	{"Kernel panic - not syncing: corrupted stack end", "kernel panic: corrupted stack end in %E", namesLike("*schedule* retint_kernel")},
	{"Kernel panic - not syncing: kernel stack overflow", "kernel stack overflow in %E", nil},
	{"Kernel panic - not syncing: Couldn't open N_TTY ldisc", "kernel panic: Couldn't open N_TTY ldisc", nil},
	{"Kernel panic - not syncing: Fatal exception", "kernel panic: Fatal exception", nil},
	{"Kernel panic - not syncing: panic_on_warn set", "kernel panic: panic_on_warn set", nil},
	{"Kernel panic - not syncing: Out of memory", "kernel panic: Out of memory", nil},
	{"VFS: Close: file count is 0", "VFS: Close: file count is zero (use-after-free)", nil},
	{"VFS: Busy inodes after unmount", "VFS: Busy inodes after unmount (use-after-free)", nil},
	{"unregister_netdevice: waiting for ", "unregister_netdevice: waiting for DEV to become free", nil},
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
	case ReportReboot:
		return "reboot: " + strings.TrimSuffix(strings.TrimPrefix(r.Text, "reboot: "), ".")
	}
	text := strings.TrimPrefix(r.Text, "Oops: ") // x86 from 6.11 on
	for i := range titleRules {
		rule := &titleRules[i]
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
			b.WriteString(blame(r, ip, rule.skip))
		case 'P': // a function printed in the text itself, else as %F
			b.WriteString(orElse(symbolAfter(text, "corrupted in: "), blame(r, ip, rule.skip)))
		case 'D': // the locks' functions, then the trace
			b.WriteString(orElse(rule.pick(said.at), blame(r, "", rule.skip)))
		case 'L':
			b.WriteString(orElse(rule.pick(said.at), orElse(firstOf(said.at), r.Func)))
		case 'O': // who allocated the page, if the kernel keeps that
			b.WriteString(rule.pick(said.at))
		case 'E':
			b.WriteString(stallFunc(r, ip))
		case 'C':
			b.WriteString(cfiOf(r, text, ip))
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

// raceOf reads `data-race in a / b` and takes the compilers' suffixes off.
func raceOf(s string) string {
	out := strings.Fields(s)
	for i, w := range out {
		if i > 0 && w != "/" && w != "in" {
			name, _, _ := strings.Cut(w, "+")
			out[i] = PlainName(name)
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

// Normalise replaces what varies from boot to boot in a message: addresses
// become ADDR, source lines LINE, numbers of four digits and more NUM, and
// fn+0x1/0x2 becomes fn. Exit codes and device numbers stay.
func Normalise(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c == '+' && strings.HasPrefix(s[i:], "+0x") && i > 0 && isWord(s[i-1]) {
			i += offsetLength(s[i:])
			continue
		}
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
		case strings.HasPrefix(w, "0x") && len(w) > 7, len(w) >= 12 && allHex([]byte(w)):
			b.WriteString("ADDR")
		case allDigits([]byte(w)) && isLineNumber(s[:i]):
			b.WriteString("LINE")
		case allDigits([]byte(w)) && len(w) >= 4:
			b.WriteString("NUM")
		default:
			b.WriteString(w)
		}
		i = j
	}
	return b.String()
}

// isLineNumber says whether a number that follows s is the line of a file.
func isLineNumber(s string) bool {
	return slices.ContainsFunc([]string{".c:", ".h:", ".S:", ".rs:"}, func(e string) bool { return strings.HasSuffix(s, e) })
}

// offsetLength is the length of "+0x1a/0x2b" at the start of s.
func offsetLength(s string) int {
	n := len("+0x")
	for n < len(s) && isHex(s[n]) {
		n++
	}
	if strings.HasPrefix(s[n:], "/0x") {
		n += len("/0x")
		for n < len(s) && isHex(s[n]) {
			n++
		}
	}
	return n
}
