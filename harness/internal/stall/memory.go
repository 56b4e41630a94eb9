package stall

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
)

// LookTime bounds one reading of the guest's memory.
const LookTime = 15 * time.Second

// userStacksTime bounds the reading of all user-space stacks. A distribution's
// are read in some 50 ms.
const userStacksTime = 5 * time.Second

// Look reads the memory of the stalled guest, which does not notice. nil means that it
// was not asked for or showed nothing; said has why.
func (a *Asker) Look(ctx context.Context, said *result.Memory) *guestmem.View {
	v, _ := a.look(ctx, said)
	return v
}

func (a *Asker) look(ctx context.Context, said *result.Memory) (*guestmem.View, error) {
	if a.Image.Look == nil {
		return nil, nil
	}
	if a.Image.Load != nil {
		a.Image.Load()
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, LookTime, fmt.Errorf("not done within %s", LookTime))
	defer cancel()
	v, err := a.read(ctx)
	said.Took += time.Since(began)
	if err != nil {
		said.Problems = append(said.Problems, err.Error())
		return nil, err
	}
	said.Problems = append(said.Problems, v.Problems...)
	said.Types = string(v.Types)
	said.Tasks, said.Offset, said.PhysBase = len(v.Tasks), v.Offset, v.PhysBase
	return v, nil
}

// lookStill does so while the guest stands still, so that what its vCPUs run is what
// their registers say.
func (a *Asker) lookStill(ctx context.Context, said *result.Memory) (v *guestmem.View) {
	err := a.Guest.Stopped(ctx, func(ctx context.Context) error {
		v = a.Look(ctx, said)
		return nil
	})
	if err != nil {
		said.Problems = append(said.Problems, err.Error())
	}
	return v
}

func (a *Asker) read(ctx context.Context) (*guestmem.View, error) {
	ram, registers, err := a.Guest.Memory(ctx)
	if err != nil {
		return nil, err
	}
	v, err := a.Image.Look(ctx, ram, registers)
	if err == nil && v == nil {
		err = errors.New("found nothing in the guest's memory")
	}
	return v, err
}

// userStacks reads the user-space stacks of the stalled guest's tasks, which does not
// notice.
func (a *Asker) userStacks(ctx context.Context, said *result.Memory) []guestmem.UserStack {
	if a.Image.UserStacks == nil {
		return nil
	}
	began := time.Now()
	defer func() { said.Took += time.Since(began) }()
	ctx, cancel := context.WithTimeout(ctx, userStacksTime)
	defer cancel()
	var stacks []guestmem.UserStack
	var problems []string
	ram, registers, err := a.Guest.Memory(ctx)
	if err == nil {
		stacks, problems, err = a.Image.UserStacks(ctx, ram, registers)
	}
	if err != nil {
		problems = append(problems, "user-space stacks: "+err.Error())
	}
	said.Problems = append(said.Problems, problems...)
	return stacks
}

// named returns the samples with the places named anew in a kernel that was moved
// from where it was linked (KASLR): only its memory tells by how much.
func named(samples []result.CPUSample, symbol vcpu.Symbolizer, offset uint64) []result.CPUSample {
	if offset == 0 || symbol == nil {
		return samples
	}
	for i, r := range samples {
		samples[i].Symbol = ""
		if name, ok := symbol(r.PC - offset); ok && !r.User {
			samples[i].Symbol = name
		}
	}
	return samples
}

// namedEarly names what has no name yet in a kernel that still runs at its physical
// addresses; err is that of the look.
func namedEarly(samples []result.CPUSample, symbol vcpu.Symbolizer, err error) {
	var early *locate.EarlyError
	if !errors.As(err, &early) || symbol == nil {
		return
	}
	for i, r := range samples {
		if name, ok := symbol(r.PC - early.Moved); ok && r.Symbol == "" && !r.User {
			samples[i].Symbol = name
		}
	}
}
