package boot

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// The bounds of a Record: a hostile guest may send for ever.
const (
	maxReports = 256
	maxEvents  = 1000
	maxNotes   = 50
	maxNote    = 400 // characters
)

// Record is what a boot showed, in order.
type Record struct {
	// Reports are the agent's, the first of them, and Stage is that of the last.
	Reports []agentproto.Report
	Stage   stage.Stage
	// FirstReport is when the first came, since the start; 0 for none.
	FirstReport time.Duration
	// Events are QEMU's.
	Events []result.Event
	// Stalls are all suspicions, in order.
	Stalls []result.Stall
	// GuestTime is the last time stamp of the kernel's on the console, in seconds.
	GuestTime float64
	// Seeded says that the guest's random number generator was ready.
	Seeded bool
	// Notes are for the reader of the Result.
	Notes []string
}

func (r *Record) report(after time.Duration, rep agentproto.Report) {
	if len(r.Reports) == 0 {
		r.FirstReport = after
	}
	if len(r.Reports) < maxReports {
		r.Reports = append(r.Reports, rep)
	}
	r.Stage = rep.Stage
	r.Seeded = r.Seeded || rep.CRNG
}

func (r *Record) event(after time.Duration, e qmp.Event) {
	if len(r.Events) < maxEvents {
		r.Events = append(r.Events, result.Event{At: after, Name: e.Name, Data: json.RawMessage(e.Data)})
	}
}

// note adds a note for the reader.
func (r *Record) note(format string, args ...any) {
	if len(r.Notes) < maxNotes {
		r.Notes = append(r.Notes, console.SanitizeMax(fmt.Sprintf(format, args...), maxNote))
	}
}

// noteOnce adds a note that is not there yet.
func (r *Record) noteOnce(text string) {
	if !slices.Contains(r.Notes, text) {
		r.note("%s", text)
	}
}
