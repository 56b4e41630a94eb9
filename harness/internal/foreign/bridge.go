package foreign

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"sync"

	"github.com/digitalocean/go-libvirt"

	"github.com/unwedge/unwedge/harness/internal/qmp"
)

// bridge speaks QMP to one client and hands the commands to a domain's monitor through
// libvirt, which owns it, and QEMU's events to the client. The vCPUs are stopped and let go by libvirt's own calls, so
// that it knows of it.
type bridge struct {
	client net.Conn
	lines  sync.Mutex // whole lines are written
	daemon *libvirt.Libvirt
	domain libvirt.Domain
}

// newBridge returns a connection that ends with the one to libvirt, or by Close.
func newBridge(ctx context.Context, l *libvirt.Libvirt, d libvirt.Domain, transcript io.Writer) (*qmp.Conn, error) {
	ours, theirs := net.Pipe()
	b := &bridge{client: theirs, daemon: l, domain: d}
	go b.serve()
	return qmp.New(ctx, ours, qmp.Options{Transcript: transcript})
}

// greeting is QEMU's, with no version: query-version tells.
const greeting = `{"QMP": {"version": {"qemu": {"major": 0, "minor": 0, "micro": 0}, "package": "by libvirt"}, "capabilities": []}}`

// failed is an answer of QMP's.
type failed struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// answer is a reply or an event.
type answer struct {
	Return json.RawMessage `json:"return,omitempty"`
	Error  *failed         `json:"error,omitempty"`
	ID     json.RawMessage `json:"id,omitempty"`
}

func (b *bridge) serve() {
	defer b.client.Close()
	go func() {
		<-b.daemon.Disconnected()
		b.client.Close()
	}()
	if _, err := io.WriteString(b.client, greeting+"\n"); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.events(ctx)
	in := bufio.NewScanner(b.client)
	in.Buffer(nil, qmp.MaxLine)
	for in.Scan() {
		var c struct {
			Execute   string          `json:"execute"`
			Arguments json.RawMessage `json:"arguments,omitempty"`
			ID        json.RawMessage `json:"id,omitempty"`
		}
		if json.Unmarshal(in.Bytes(), &c) != nil {
			return
		}
		a := b.execute(c.Execute, c.Arguments)
		a.ID = c.ID
		if b.write(a) != nil {
			return
		}
	}
}

func (b *bridge) write(message any) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	b.lines.Lock()
	defer b.lines.Unlock()
	_, err = b.client.Write(append(line, '\n'))
	return err
}

// event is one of QEMU's.
type event struct {
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data,omitempty"`
	Timestamp struct {
		Seconds      uint64 `json:"seconds"`
		Microseconds uint32 `json:"microseconds"`
	} `json:"timestamp"`
}

// events hands QEMU's events on until the context ends. A libvirt that gives none is
// done without: what matters is asked for, too.
func (b *bridge) events(ctx context.Context) {
	from, err := b.daemon.SubscribeQEMUEvents(ctx, b.domain.Name)
	if err != nil {
		return
	}
	go func() {
		for e := range from { // to its end, or libvirt's reader would wait
			out := event{Event: e.Event}
			if json.Valid(e.Details) {
				out.Data = e.Details
			}
			out.Timestamp.Seconds, out.Timestamp.Microseconds = e.Seconds, e.Microseconds
			_ = b.write(out) // the client may be gone
		}
	}()
}

// execute has one command executed.
func (b *bridge) execute(command string, args json.RawMessage) answer {
	var err error
	switch command {
	case "qmp_capabilities":
	case "stop":
		err = b.daemon.DomainSuspend(b.domain)
	case "cont":
		err = b.daemon.DomainResume(b.domain)
	default:
		return b.pass(command, args)
	}
	if err != nil {
		return refused(err)
	}
	return answer{Return: json.RawMessage("{}")}
}

// pass hands a command to QEMU.
func (b *bridge) pass(command string, args json.RawMessage) (a answer) {
	line, err := json.Marshal(struct {
		Execute   string          `json:"execute"`
		Arguments json.RawMessage `json:"arguments,omitempty"`
	}{command, args})
	if err != nil {
		return refused(err)
	}
	said, err := b.daemon.QEMUDomainMonitorCommand(b.domain, string(line), 0)
	if err != nil {
		return refused(err)
	}
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		return refused(err)
	}
	if a.Return == nil && a.Error == nil {
		a.Return = json.RawMessage("{}")
	}
	return a
}

func refused(err error) answer {
	return answer{Error: &failed{"GenericError", "libvirt: " + err.Error()}}
}
