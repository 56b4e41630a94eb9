package inspect

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// events are a View's, safe to print.
func events(all []model.Event) []model.Event {
	var out []model.Event
	for _, e := range all {
		e.Calls, e.Work, e.Comm = safe(e.Calls), safe(e.Work), safe(e.Comm)
		out = append(out, e)
	}
	return out
}

// TimersText prints what the guest's kernel has set its clock for, what is due first
// first. A guest that idles may not have counted its jiffies for a while.
func (r *Report) TimersText(w io.Writer) error {
	var b bytes.Buffer
	all := slices.Clone(r.Events)
	in := func(e model.Event) time.Duration { return e.In(r.Jiffies, r.hz) }
	slices.SortStableFunc(all, func(a, b model.Event) int { return cmp.Compare(in(a), in(b)) })
	fmt.Fprintf(&b, "%12s  %s\n", "DUE IN", "CALLS")
	for _, e := range all {
		due := "?"
		if r.hz > 0 {
			due = in(e).Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "%12s  %s\n", due, e)
	}
	_, err := w.Write(b.Bytes())
	return err
}
