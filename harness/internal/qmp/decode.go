package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Kind is what an event means for the run.
type Kind int

// The kinds of events that matter to a run (QEMU's qapi/run-state.json).
const (
	Other    Kind = iota
	Shutdown      // QEMU ends, or stops the vCPUs under -no-shutdown
	Reset         // the machine was reset
	Panicked      // the guest's kernel reported a panic to QEMU
	Stop          // the vCPUs were stopped; query-status says why
	Resume        // the vCPUs run again
)

var kinds = map[string]Kind{"SHUTDOWN": Shutdown, "RESET": Reset, "GUEST_PANICKED": Panicked, "STOP": Stop, "RESUME": Resume}

// Change is an event that changes the run.
type Change struct {
	Kind Kind
	// Guest says that the guest asked for a shutdown or reset, Reason why,
	// such as "guest-shutdown" or "host-signal".
	Guest  bool
	Reason string
}

// Decode reads an event. Where its data cannot be read, it gives the Kind and an
// error.
func Decode(e Event) (Change, error) {
	c := Change{Kind: kinds[e.Name]}
	if c.Kind != Shutdown && c.Kind != Reset {
		return c, nil
	}
	var data struct {
		Guest  bool
		Reason string
	}
	err := errors.New("the line is too long")
	if !e.Truncated {
		err = json.Unmarshal(e.Data, &data)
	}
	if err != nil {
		return c, fmt.Errorf("read QMP event %s: %w", e.Name, err)
	}
	c.Guest, c.Reason = data.Guest, data.Reason
	return c, nil
}
