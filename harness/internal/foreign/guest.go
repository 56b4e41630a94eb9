// Package foreign gets at a guest that somebody else started: by the monitor of its
// QEMU and the memory of that process. It never resets, ends or configures the guest.
// The one thing that it does to it is to stop it for a moment (Guest.Still), and then
// it lets it go on.
package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrGone says that the guest's QEMU has ended.
var ErrGone = errors.New("its QEMU has ended")

// greetingTime is Options.Greeting where that is zero.
const greetingTime = 5 * time.Second

// Guest is a guest that somebody else started. Its methods may be called one at a
// time.
type Guest struct {
	// QMP is the monitor of its QEMU.
	QMP *qmp.Conn
	// Arch is the guest's.
	Arch arch.Arch
	// PID is that of its QEMU, 0 where it is not a process that can be seen here.
	PID int
	// CPUs are its vCPUs.
	CPUs []vcpu.CPU
	// Socket is the path of the monitor's socket, Domain the name of libvirt's domain
	// and URI the connection; "" where there is none.
	Socket, Domain, URI string

	wire  wire
	files []io.Closer
}

// wire is the connection that lies below Guest.QMP.
type wire interface {
	// insure starts a process that lets the guest go on if this one dies before release
	// was called, or release says that it does not. release is nil where no such process
	// can be had.
	insure() (release func(resumed bool) error, err error)
	// reopen makes another connection, where the first has failed.
	reopen(ctx context.Context) (*qmp.Conn, error)
	// sendFile gives QEMU a file by the name of an fd; false where it cannot be given.
	sendFile(ctx context.Context, conn *qmp.Conn, name string, fd uintptr) (bool, error)
}

// Options say how to connect.
type Options struct {
	// Transcript gets each line sent and received, see qmp.Options; nil for none.
	Transcript io.Writer
	// Greeting bounds the wait for QEMU's greeting; zero means 5 s. A monitor serves one
	// client at a time and lets others wait without a word.
	Greeting time.Duration
}

// Open connects to the monitor at a unix socket. An error that is ErrGone says that
// nobody listens there any more.
func Open(ctx context.Context, socket string, o Options) (*Guest, error) {
	w := &socketWire{path: socket, transcript: o.Transcript, greeting: cmp.Or(o.Greeting, greetingTime)}
	conn, err := w.reopen(ctx)
	if err != nil {
		return nil, err
	}
	g := &Guest{QMP: conn, Socket: socket, wire: w}
	if err := g.identify(ctx); err != nil {
		g.Close()
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	return g, nil
}

// Close lets go of the guest, which stays as it is.
func (g *Guest) Close() {
	g.QMP.Close()
	for _, f := range g.files {
		f.Close() // they were read only
	}
}

// identify asks what the guest is, and whose process runs it.
func (g *Guest) identify(ctx context.Context) error {
	var cpus []struct {
		vcpu.CPU
		Target string `json:"target"`
	}
	if err := g.QMP.Execute(ctx, "query-cpus-fast", nil, &cpus); err != nil {
		return err
	}
	if len(cpus) == 0 {
		return errors.New("the guest has no vCPU")
	}
	a, err := arch.Parse(cpus[0].Target)
	if err != nil {
		return usage.Errorf("the guest is %s: unwedge reads %s", cpus[0].Target, arch.List())
	}
	g.Arch = a
	for _, c := range cpus {
		g.CPUs = append(g.CPUs, c.CPU)
	}
	g.PID = process(g.CPUs)
	return nil
}

// Status is what QEMU says the guest does: running, paused, prelaunch and others
// (qapi/run-state.json, RunState).
func (g *Guest) Status(ctx context.Context) (status string, err error) {
	var st struct {
		Status string `json:"status"`
	}
	err = g.QMP.Execute(ctx, "query-status", nil, &st)
	return st.Status, err
}

// Running is the status of a guest whose vCPUs run, Paused of one that was stopped.
const (
	Running = "running"
	Paused  = "paused"
)
