package dump

import (
	"bytes"
	"strings"
)

// flight is what a workqueue lockup says of the work items of the pool that is stuck.
type flight struct {
	pool  bool   // the lines that follow are about this pool
	work  string // the item that has run longest
	since int    // for how long, in seconds; 0 for not said, before 7.0
}

// workqueueWords begin the lines of show_all_workqueues (kernel/workqueue.c).
var workqueueWords = [][]byte{
	[]byte("workqueue "), []byte("pwq "), []byte("in-flight:"), []byte("pending:"), []byte("inactive:"), []byte("delayed:"), []byte("pool "), []byte("Showing b"),
}

// workqueueLine reads below a workqueue lockup what the stuck pool works on; a pool is
// known by its attributes:
//
//	BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 168s!
//	  pwq 2: cpus=0 node=0 flags=0x0 nice=0 active=6/256 refcnt=7
//	    in-flight: 563:demo_work for 168s ,57(RESCUER):demo_other for 3s
func workqueueLine(rep *Report, b []byte) bool {
	t := trim(b)
	known := false
	for _, w := range workqueueWords {
		known = known || hasPrefix(t, string(w))
	}
	fl := &rep.said.flight
	switch {
	case hasPrefix(t, "pwq "):
		_, attrs, _ := bytes.Cut(t, []byte(": "))
		attrs, _, _ = bytes.Cut(attrs, []byte(" active="))
		fl.pool = len(attrs) > 0 && string(attrs) == poolOf(rep.Text)
	case fl.pool && hasPrefix(t, "in-flight:"):
		for item := range bytes.SplitSeq(t[len("in-flight:"):], []byte(",")) {
			fl.take(item)
		}
	}
	return known
}

// poolOf is the attributes of the pool that the first line of a lockup names.
func poolOf(text string) string {
	_, pool, _ := strings.Cut(text, " - pool ")
	pool, _, _ = strings.Cut(pool, " stuck for ")
	return pool
}

// take reads `563:demo_work for 168s`.
func (fl *flight) take(item []byte) {
	_, name, ok := bytes.Cut(trim(item), []byte(":"))
	if !ok {
		return
	}
	name, rest, _ := bytes.Cut(name, []byte(" "))
	name, _, _ = bytes.Cut(name, []byte("("))
	if !isSymbolName(name) {
		return
	}
	since, _ := parseDec(bytes.TrimPrefix(rest, []byte("for ")))
	if fl.work == "" || since > fl.since {
		fl.work, fl.since = string(name), since
	}
}

// worker keeps the work item of the first worker whose stack follows a lockup:
//
//	Workqueue: events demo_work
func (p *parser) worker(bl *block, words string) {
	if bl.report < 0 {
		return
	}
	rep := &p.d.Reports[bl.report]
	if f := strings.Fields(words); rep.Kind == ReportWorkqueue && rep.said.work == "" && len(f) > 1 && isSymbolName([]byte(f[1])) {
		rep.said.work = f[1]
	}
}
