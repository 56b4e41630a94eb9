// Package gdb speaks the GDB remote serial protocol to QEMU's gdb stub, as far
// as an experiment on a guest needs it: stop it, break at an address, read and
// change registers and memory, let it go
// (https://sourceware.org/gdb/current/onlinedocs/gdb.html/Remote-Protocol.html;
// QEMU, docs/system/gdb.rst).
package gdb

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// ErrProtocol says that the peer answered what no gdb stub answers.
var ErrProtocol = errors.New("peer does not speak the gdb protocol")

// RefusedError is a command that the stub refused.
type RefusedError struct{ Command, Answer string }

func (e *RefusedError) Error() string {
	if e.Answer == "" {
		return fmt.Sprintf("gdb stub: %s: not supported", e.Command)
	}
	return fmt.Sprintf("gdb stub: %s: %s", e.Command, e.Answer)
}

const (
	// maxPacket bounds what is read of one packet, in bytes. QEMU's are 4 KiB.
	maxPacket = 64 << 10
	// maxChunk is how much memory one packet carries, in bytes; it is sent as
	// twice as many digits.
	maxChunk = 1024
	// maxResends is how often a packet is sent that the peer did not get right.
	maxResends = 3
	// answerTime bounds the answer to a command other than those that let the
	// guest run.
	answerTime = 10 * time.Second
)

// Conn is a connection to a stub. The guest stands still from Attach on, but
// while Continue and Step run. It is not safe for concurrent use.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
	// thread is the one that registers and memory are accessed through.
	thread string
}

// Stop is why the guest stopped.
type Stop struct {
	// Signal is 5 (SIGTRAP) at a breakpoint or after a step, 2 (SIGINT) where
	// it was interrupted.
	Signal int
	// Thread is the vCPU that stopped, as the stub names it.
	Thread string
}

// Trap says that the guest stopped at a breakpoint or after a step.
func (s Stop) Trap() bool { return s.Signal == 5 }

// Attach takes a new connection to a stub, which stops the guest. It owns conn:
// an error closes it, Detach too.
func Attach(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := &Conn{conn: conn, in: bufio.NewReaderSize(conn, 4096)}
	// QEMU serves single registers only to those who have read its target.xml
	// (gdbstub.c, gdb_has_xml).
	for _, cmd := range []string{"qSupported:xmlRegisters=i386", "qXfer:features:read:target.xml:0,3ff"} {
		if _, err := c.ask(ctx, cmd); err != nil {
			conn.Close()
			return nil, fmt.Errorf("attach to the gdb stub: %w", err)
		}
	}
	stop, err := c.stopped(ctx, "?")
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("attach to the gdb stub: %w", err)
	}
	c.thread = stop.Thread
	return c, c.Select(ctx, stop.Thread)
}

// Detach removes what the stub still knows of breakpoints, lets the guest run and
// closes the connection.
func (c *Conn) Detach(ctx context.Context) error {
	defer c.conn.Close()
	return c.ok(ctx, "D")
}

// Select chooses the vCPU whose registers, and page tables, are used from now on.
func (c *Conn) Select(ctx context.Context, thread string) error {
	return c.ok(ctx, "Hg"+thread)
}

// Break makes the guest stop before it executes the instruction at addr; size is
// the kind of breakpoint: 1 on x86, 4 on arm64.
func (c *Conn) Break(ctx context.Context, addr uint64, size int) error {
	return c.ok(ctx, fmt.Sprintf("Z0,%x,%x", addr, size))
}

// Clear takes a breakpoint away.
func (c *Conn) Clear(ctx context.Context, addr uint64, size int) error {
	return c.ok(ctx, fmt.Sprintf("z0,%x,%x", addr, size))
}

// Register reads a register of at most 8 bytes by its number.
func (c *Conn) Register(ctx context.Context, n int) (uint64, error) {
	b, err := c.bytes(ctx, fmt.Sprintf("p%x", n))
	if err != nil {
		return 0, err
	}
	if len(b) == 0 || len(b) > 8 {
		return 0, fmt.Errorf("register %d has %d bytes: %w", n, len(b), ErrProtocol)
	}
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:]), nil
}

// SetRegister writes a register of size bytes, at most 8.
func (c *Conn) SetRegister(ctx context.Context, n, size int, value uint64) error {
	var w [8]byte
	binary.LittleEndian.PutUint64(w[:], value)
	return c.ok(ctx, fmt.Sprintf("P%x=%x", n, w[:size]))
}

// Read fills p from a virtual address.
func (c *Conn) Read(ctx context.Context, addr uint64, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxChunk)
		b, err := c.bytes(ctx, fmt.Sprintf("m%x,%x", addr, n))
		if err != nil {
			return err
		}
		if len(b) != n {
			return fmt.Errorf("read %d bytes at %#x, got %d: %w", n, addr, len(b), ErrProtocol)
		}
		copy(p, b)
		p, addr = p[n:], addr+uint64(n)
	}
	return nil
}

// Write writes p to a virtual address.
func (c *Conn) Write(ctx context.Context, addr uint64, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxChunk)
		if err := c.ok(ctx, fmt.Sprintf("M%x,%x:%x", addr, n, p[:n])); err != nil {
			return err
		}
		p, addr = p[n:], addr+uint64(n)
	}
	return nil
}

// Continue lets every vCPU run until one stops. When ctx ends first, the guest is
// stopped and the error is the context's cause.
func (c *Conn) Continue(ctx context.Context) (Stop, error) { return c.run(ctx, "vCont;c") }

// Step executes one instruction of one vCPU; the others stand still meanwhile.
func (c *Conn) Step(ctx context.Context, thread string) (Stop, error) {
	return c.run(ctx, "vCont;s:"+thread)
}

func (c *Conn) run(ctx context.Context, cmd string) (Stop, error) {
	stop, err := c.stopped(ctx, cmd)
	if ctx.Err() == nil {
		return stop, err
	}
	// The connection is as it was: nothing but the wait for a packet's first
	// byte was broken off, or the packet is torn and the next read says so.
	cause := context.Cause(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	defer c.bound(ctx)()
	if _, err := c.conn.Write([]byte{3}); err != nil {
		return Stop{}, errors.Join(cause, err)
	}
	if _, err := c.stopReply(); err != nil {
		return Stop{}, errors.Join(cause, fmt.Errorf("interrupt the guest: %w", err))
	}
	return Stop{}, cause
}

// stopped sends a command whose answer is a stop, without a bound of its own.
func (c *Conn) stopped(ctx context.Context, cmd string) (Stop, error) {
	defer c.bound(ctx)()
	if err := c.send(cmd); err != nil {
		return Stop{}, err
	}
	return c.stopReply()
}

func (c *Conn) stopReply() (Stop, error) {
	for {
		text, err := c.receive()
		if err != nil {
			return Stop{}, err
		}
		if strings.HasPrefix(text, "O") { // the console of the program: of no use here
			continue
		}
		stop, err := parseStop(text)
		if err != nil {
			return Stop{}, err
		}
		return stop, nil
	}
}

// parseStop reads "T05thread:01;…" or "S05".
func parseStop(text string) (Stop, error) {
	if len(text) < 3 || text[0] != 'T' && text[0] != 'S' {
		return Stop{}, fmt.Errorf("stop reply %.40q: %w", text, ErrProtocol)
	}
	n, err := strconv.ParseUint(text[1:3], 16, 8)
	if err != nil {
		return Stop{}, fmt.Errorf("stop reply %.40q: %w", text, ErrProtocol)
	}
	s := Stop{Signal: int(n), Thread: "0"} // any, where it names none
	for _, kv := range strings.Split(text[3:], ";") {
		if id, ok := strings.CutPrefix(kv, "thread:"); ok {
			if _, err := strconv.ParseUint(id, 16, 64); err != nil {
				return Stop{}, fmt.Errorf("stop reply %.40q: %w", text, ErrProtocol)
			}
			s.Thread = id
		}
	}
	return s, nil
}

// bound has the connection's reads and writes end with ctx. The function it
// returns ends that.
func (c *Conn) bound(ctx context.Context) func() {
	_ = c.conn.SetDeadline(time.Time{}) // of a connection that is closed: the next use says so
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// ask sends a command and returns the answer.
func (c *Conn) ask(ctx context.Context, cmd string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("no answer within %s", answerTime))
	defer cancel()
	defer c.bound(ctx)()
	name, _, _ := strings.Cut(cmd, ":")
	if err := c.send(cmd); err != nil {
		return "", fmt.Errorf("gdb stub: %s: %w", name, orCause(ctx, err))
	}
	text, err := c.receive()
	if err != nil {
		return "", fmt.Errorf("gdb stub: %s: %w", name, orCause(ctx, err))
	}
	return text, nil
}

func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *Conn) ok(ctx context.Context, cmd string) error {
	text, err := c.ask(ctx, cmd)
	if err == nil && text != "OK" {
		err = &RefusedError{cmd, fmt.Sprintf("%.40q", text)}
	}
	return err
}

func (c *Conn) bytes(ctx context.Context, cmd string) ([]byte, error) {
	text, err := c.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if text == "" || text[0] == 'E' && len(text) == 3 {
		return nil, &RefusedError{cmd, text}
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("gdb stub: %s: %.40q: %w", cmd, text, ErrProtocol)
	}
	return b, nil
}

// send sends one packet and waits until the peer has it.
func (c *Conn) send(data string) error {
	packet := fmt.Appendf(nil, "$%s#%02x", data, checksum(data))
	for range maxResends {
		if _, err := c.conn.Write(packet); err != nil {
			return err
		}
		switch b, err := c.in.ReadByte(); {
		case err != nil:
			return err
		case b == '+':
			return nil
		case b != '-':
			return fmt.Errorf("%q instead of an acknowledgement: %w", b, ErrProtocol)
		}
	}
	return fmt.Errorf("a packet was refused %d times: %w", maxResends, ErrProtocol)
}

// receive reads one packet and acknowledges it.
func (c *Conn) receive() (string, error) {
	for skipped := 0; ; skipped++ {
		b, err := c.in.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '$' {
			break
		}
		if skipped == maxPacket || b != '+' { // late acknowledgements are harmless
			return "", fmt.Errorf("%q instead of a packet: %w", b, ErrProtocol)
		}
	}
	var data []byte
	for {
		b, err := c.in.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '#' {
			break
		}
		if data = append(data, b); len(data) > maxPacket {
			return "", fmt.Errorf("a packet of more than %d bytes: %w", maxPacket, ErrProtocol)
		}
	}
	var sum [2]byte
	for i := range sum {
		var err error
		if sum[i], err = c.in.ReadByte(); err != nil {
			return "", err
		}
	}
	if want, err := strconv.ParseUint(string(sum[:]), 16, 8); err != nil || byte(want) != checksum(string(data)) {
		return "", fmt.Errorf("a packet with a wrong checksum: %w", ErrProtocol)
	}
	_, _ = c.conn.Write([]byte{'+'}) // what was answered counts, even if the peer has left meanwhile
	return string(data), nil
}

func checksum(data string) (sum byte) {
	for i := range len(data) {
		sum += data[i]
	}
	return sum
}
