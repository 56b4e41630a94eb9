package dump

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// IsGeneric says whether a function (Base name) says nothing about why a task waits
// or crashed.
func IsGeneric(fn string) bool { return generics.has(fn) }

// schedulers are where every task stands that does not run.
var schedulers = namesLike("__switch_to* context_switch __schedule* schedule schedule_* io_schedule* preempt_schedule* __cond_resched _cond_resched")

// TakesLock says whether a function takes a lock for its caller, who is to blame if
// it never gets it.
func TakesLock(fn string) bool { return lockers.has(fn) }

var lockers = compilePatterns(helpers, func(h helper) bool { return strings.Contains(h.why, "its caller takes it") })

// entries are how user space enters the kernel: nothing happens there.
var entries = compilePatterns(helpers, func(h helper) bool { return h.why == entersKernel })

// Guilty names the function that a report is about: the instruction pointer's
// unless it is generic, else the first of the chain that is not generic, else any.
// Compiler suffixes are removed.
func Guilty(ip string, frames []model.Frame) string {
	ip = model.BaseName(ip)
	if ip != "" && !IsGeneric(ip) {
		return ip
	}
	chain := model.Trusted(frames)
	for _, f := range chain {
		if b := f.Base(); !IsGeneric(b) && !pastEnd(f) {
			return b
		}
	}
	// Where all are generic, the one that is no part of the report itself.
	if ip != "" && !innocents.has(ip) {
		return ip
	}
	for _, f := range chain {
		if b := f.Base(); !innocents.has(b) && !isAnchor(b) && !schedulers.has(b) && !entries.has(b) {
			return b
		}
	}
	return ""
}
