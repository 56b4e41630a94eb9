package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	goqemu "github.com/digitalocean/go-qemu/qmp"
)

// Monitor returns the connection as go-qemu's qmp.Monitor, for code written
// against that interface (qmp/raw, qemu.Domain). All monitors of a Conn share
// it: Disconnect closes it for everybody.
func (c *Conn) Monitor() goqemu.Monitor { return monitor{c} }

type monitor struct{ c *Conn }

// Connect is nil while the connection lives: it was made by New or Dial.
func (m monitor) Connect() error { return m.c.Err() }

// Disconnect closes the connection.
func (m monitor) Disconnect() error { return m.c.Close() }

// Run sends one command given as JSON and returns QEMU's whole reply line, in
// memory of its own. A refused command is a *CommandError. An id in the
// command is replaced on the wire and given back in the reply.
func (m monitor) Run(raw []byte) ([]byte, error) {
	var in struct {
		Execute   string          `json:"execute"`
		Exec      string          `json:"exec-oob"`
		Arguments json.RawMessage `json:"arguments"`
		ID        json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("parse QMP command: %w", err)
	}
	if (in.Execute == "") == (in.Exec == "") {
		return nil, errors.New("parse QMP command: it needs one of \"execute\" and \"exec-oob\"")
	}
	cmd := command{Execute: in.Execute, Exec: in.Exec}
	if in.Arguments != nil {
		cmd.Arguments = in.Arguments
	}
	r, err := m.c.roundTrip(context.Background(), cmd) // bounded by Options.Timeout
	if err != nil {
		return nil, err
	}
	out := struct {
		Return json.RawMessage `json:"return"`
		ID     json.RawMessage `json:"id,omitempty"`
	}{r.ret, in.ID}
	return json.Marshal(out)
}

// Events gives the events since the connection began. The channel is closed
// when ctx ends or the connection does. Nobody has to read it.
func (m monitor) Events(ctx context.Context) (<-chan goqemu.Event, error) {
	if err := m.c.Err(); err != nil {
		return nil, err
	}
	sub := m.c.Subscribe(0)
	out := make(chan goqemu.Event, cap(sub.queue))
	go forward(ctx, m.c.done, sub, out)
	return out, nil
}

func forward(ctx context.Context, done <-chan struct{}, sub *Subscription, out chan<- goqemu.Event) {
	defer close(out)
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-sub.C:
			if !ok {
				return
			}
			if !forwardOne(ctx, done, e.goqemu(), out) {
				return
			}
		}
	}
}

// forwardOne waits for the reader only while there are both a reader's
// context and a connection; what comes after fits the buffer or is dropped.
func forwardOne(ctx context.Context, done <-chan struct{}, e goqemu.Event, out chan<- goqemu.Event) bool {
	select {
	case out <- e:
		return true
	default:
	}
	select {
	case out <- e:
		return true
	case <-ctx.Done():
		return false
	case <-done:
		return false
	}
}

func (e Event) goqemu() goqemu.Event {
	out := goqemu.Event{Event: e.Name}
	if e.Data != nil {
		// Data was checked when its line was parsed; anything but an object
		// has no place in go-qemu's type and is left out.
		_ = json.Unmarshal(e.Data, &out.Data)
	}
	if !e.Time.IsZero() {
		out.Timestamp.Seconds = e.Time.Unix()
		out.Timestamp.Microseconds = int64(e.Time.Nanosecond() / 1000)
	}
	return out
}
