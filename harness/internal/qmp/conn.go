// Package qmp is a QEMU Machine Protocol connection that neither hangs nor
// leaks, whatever its peer does.
//
// It provides what github.com/digitalocean/go-qemu/qmp names, a Monitor, over
// a connection of its own: that module's SocketMonitor aliases its read
// buffer, dies on replies over 64 KiB, blocks for ever behind an event
// channel nobody reads, and has neither ids nor time-outs.
//
// A connection has one goroutine, its reader, which never waits for anybody
// but the peer. Every call is bounded by its context and by Options.Timeout.
package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// Limits of the protocol as this package speaks it.
const (
	// DefaultTimeout bounds a command where Options.Timeout is zero. A QEMU that starts
	// on a host with load 20 was seen to take over 10 s to reply.
	DefaultTimeout = time.Minute
	// MaxLine is the longest line accepted, in bytes. query-qmp-schema, the
	// largest reply known, has some 200 KiB in QEMU 7.2.
	MaxLine = 10 << 20
	// maxUnixPath is the longest path in a sockaddr_un on Linux: 108 bytes
	// with the closing NUL (unix(7)).
	maxUnixPath = 107
)

// Options of a connection. The zero value works.
type Options struct {
	// Timeout bounds each command, the greeting and the negotiation when the
	// caller's context has no earlier deadline. Zero means DefaultTimeout.
	Timeout time.Duration
	// Greeting bounds the wait for the greeting alone. Zero means Timeout.
	Greeting time.Duration
	// Backlog is how many of the newest events are kept for subscriptions
	// made later, 1 to 65536. Zero means 1024.
	Backlog int
	// Transcript, when set, gets each line sent and received as one JSON
	// object per line. It must not block for long: the reader writes to it.
	// When it fails the failure is kept for TranscriptErr and the connection
	// goes on without a transcript.
	Transcript io.Writer
	// TranscriptBytes caps the transcript. Zero means 64 MiB.
	TranscriptBytes int64
	// Now is the clock of the transcript. Nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() (Options, error) {
	if o.Timeout < 0 {
		return o, fmt.Errorf("QMP time-out %v is negative", o.Timeout)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Greeting <= 0 {
		o.Greeting = o.Timeout
	}
	if o.Backlog < 0 || o.Backlog > 1<<16 {
		return o, fmt.Errorf("QMP event backlog %d is not between 1 and 65536", o.Backlog)
	}
	if o.Backlog == 0 {
		o.Backlog = 1024
	}
	if o.TranscriptBytes <= 0 {
		o.TranscriptBytes = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Version is what QEMU says of itself in its greeting.
type Version struct {
	Major, Minor, Micro int
	// Package is the distributor's suffix, such as "Debian 1:7.2+dfsg-7".
	Package string
}

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
}

// Conn is a QMP session in command mode. All methods may be called from any
// goroutine.
type Conn struct {
	conn   net.Conn
	opts   Options
	log    *transcript
	events *hub

	// writing holds one token while a command is written, so that lines are
	// never mixed and a writer can give up waiting when its context ends.
	writing  chan struct{}
	greeting chan Version
	done     chan struct{} // closed once err is set
	reader   chan struct{} // closed when the reader goroutine has ended

	mu      sync.Mutex
	pending map[string]chan reply
	lastID  uint64
	err     error

	version Version // set before New returns
}

// reply is the answer to one command.
type reply struct {
	ret json.RawMessage
	err *wireError
}

// New takes over conn, waits for QEMU's greeting and leaves negotiation mode.
// The connection is closed when New returns an error, and conn belongs to the
// returned Conn otherwise.
func New(ctx context.Context, conn net.Conn, o Options) (*Conn, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := &Conn{
		conn: conn, opts: o, log: newTranscript(o), events: newHub(o.Backlog),
		writing: make(chan struct{}, 1), greeting: make(chan Version, 1),
		done: make(chan struct{}), reader: make(chan struct{}),
		pending: make(map[string]chan reply),
	}
	go c.read()
	if err := c.negotiate(ctx); err != nil {
		c.fail(err)
		<-c.reader
		return nil, err
	}
	return c, nil
}

// Dial connects to the unix socket at path and does what New does.
func Dial(ctx context.Context, path string, o Options) (*Conn, error) {
	if len(path) > maxUnixPath {
		return nil, fmt.Errorf("connect to QMP socket %s: path has %d bytes, a unix socket can have %d", path, len(path), maxUnixPath)
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(dctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to QMP socket: %w", err)
	}
	return New(ctx, conn, o)
}

func (c *Conn) negotiate(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, c.opts.Greeting)
	defer cancel()
	select {
	case c.version = <-c.greeting:
	case <-c.done:
		return fmt.Errorf("wait for QMP greeting: %w", c.Err())
	case <-wait.Done():
		return fmt.Errorf("wait for QMP greeting: %w", c.gaveUp(ctx, c.opts.Greeting))
	}
	return c.Execute(ctx, "qmp_capabilities", nil, nil)
}

// Execute runs one command and waits for its reply.
//
// args is encoded as the command's arguments, nil for none. The reply's
// return value is decoded into out unless out is nil. The errors callers may
// want to tell apart: *CommandError (QEMU refused), ErrNoReply (nothing came
// within Options.Timeout or the context's deadline), ErrClosed (the
// connection has ended), and the context's own error when it was cancelled.
// A reply that comes after its caller gave up is dropped.
func (c *Conn) Execute(ctx context.Context, cmd string, args, out any) error {
	r, err := c.roundTrip(ctx, command{Execute: cmd, Arguments: args})
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(r.ret, out); err != nil {
		return fmt.Errorf("qmp %s: decode reply: %w", cmd, err)
	}
	return nil
}

// HMP runs one line of the human monitor and returns what it printed. HMP
// has no errors of its own: a refused line is text like any other.
func (c *Conn) HMP(ctx context.Context, line string) (string, error) {
	var out string
	err := c.Execute(ctx, "human-monitor-command", map[string]string{"command-line": line}, &out)
	return out, err
}

// command is one line to QEMU. Exec replaces Execute for out-of-band commands
// that come through the go-qemu adapter.
type command struct {
	Execute   string `json:"execute,omitempty"`
	Exec      string `json:"exec-oob,omitempty"`
	Arguments any    `json:"arguments,omitempty"`
	ID        string `json:"id"`
}

func (m command) name() string {
	if m.Execute != "" {
		return m.Execute
	}
	return m.Exec
}

func (c *Conn) roundTrip(ctx context.Context, m command) (reply, error) {
	name := m.name()
	wait, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()

	answer := make(chan reply, 1)
	if err := c.enlist(&m, answer); err != nil {
		return reply{}, fmt.Errorf("qmp %s: %w", name, err)
	}
	defer c.delist(m.ID)
	line, err := json.Marshal(m)
	if err != nil {
		return reply{}, fmt.Errorf("qmp %s: encode command: %w", name, err)
	}
	if err := c.send(wait, append(line, '\n')); err != nil {
		if errors.Is(err, errGaveUp) {
			err = c.gaveUp(ctx, c.opts.Timeout)
		}
		return reply{}, fmt.Errorf("qmp %s: %w", name, err)
	}
	select {
	case r := <-answer:
		return checked(name, r)
	case <-c.done:
	case <-wait.Done():
	}
	// A reply and the end may come together (quit): the reply wins.
	select {
	case r := <-answer:
		return checked(name, r)
	default:
	}
	if err := c.Err(); err != nil {
		return reply{}, fmt.Errorf("qmp %s: %w", name, err)
	}
	return reply{}, fmt.Errorf("qmp %s: %w", name, c.gaveUp(ctx, c.opts.Timeout))
}

func checked(name string, r reply) (reply, error) {
	if r.err != nil {
		return reply{}, &CommandError{Command: name, Class: r.err.Class, Desc: r.err.Desc}
	}
	return r, nil
}

// gaveUp says why a wait that was bounded by ctx and by limit has ended.
func (c *Conn) gaveUp(ctx context.Context, limit time.Duration) error {
	switch {
	case ctx.Err() == nil:
		return fmt.Errorf("%w within %v: %w", ErrNoReply, limit, context.DeadlineExceeded)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w before the deadline: %w", ErrNoReply, context.DeadlineExceeded)
	default:
		return context.Cause(ctx)
	}
}

// enlist gives the command its id and registers who waits for the reply.
func (c *Conn) enlist(m *command, answer chan reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.lastID++
	m.ID = idPrefix + strconv.FormatUint(c.lastID, 10)
	c.pending[m.ID] = answer
	return nil
}

func (c *Conn) delist(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

var errGaveUp = errors.New("gave up sending")

// send writes one line. A line that was written in part cannot be taken back,
// so the connection is closed then; one that was not begun does no harm.
func (c *Conn) send(ctx context.Context, line []byte) error {
	select {
	case c.writing <- struct{}{}:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return errGaveUp
	}
	defer func() { <-c.writing }()
	if ctx.Err() != nil {
		return errGaveUp
	}
	if err := c.conn.SetWriteDeadline(time.Time{}); err != nil {
		c.fail(fmt.Errorf("set write deadline: %w", err))
		return c.Err()
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		// An error here means that the connection is gone, which the write
		// reports by itself.
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	c.log.line(sent, bytes.TrimSuffix(line, newline))
	n, err := c.conn.Write(line)
	if !stop() {
		<-interrupted // or it could hit the next writer's deadline
	}
	if err == nil {
		return nil
	}
	if n == 0 && ctx.Err() != nil && c.Err() == nil {
		return errGaveUp
	}
	c.fail(fmt.Errorf("write command (%d of %d bytes written): %w", n, len(line), gone(err)))
	return c.Err()
}

// fail ends the connection for the given reason; only the first one counts.
func (c *Conn) fail(reason error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = closedBy(reason)
		close(c.done)
	}
	c.mu.Unlock()
	if first {
		// The reason is what matters to callers, not how the close went.
		_ = c.conn.Close()
		c.events.close()
	}
}

// Version is what QEMU said of itself in its greeting.
func (c *Conn) Version() Version { return c.version }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the connection lives; then it wraps ErrClosed and why.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and waits for its reader. Commands in flight
// return ErrClosed, subscriptions end. Closing twice is harmless; the error
// is always nil, so that Close fits io.Closer.
func (c *Conn) Close() error {
	c.fail(errLocalClose)
	<-c.reader
	return nil
}

// TranscriptErr is the error that ended the transcript, nil while it is whole.
func (c *Conn) TranscriptErr() error { return c.log.Err() }
