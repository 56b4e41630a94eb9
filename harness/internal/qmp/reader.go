package qmp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
)

const idPrefix = "unwedge-"

var newline = []byte("\n")

// wireError is the error member of a reply.
type wireError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// message is any line from QEMU: greeting, reply or event (QMP specification,
// "protocol details").
type message struct {
	Greeting *struct {
		Version struct {
			QEMU struct {
				Major int `json:"major"`
				Minor int `json:"minor"`
				Micro int `json:"micro"`
			} `json:"qemu"`
			Package string `json:"package"`
		} `json:"version"`
	} `json:"QMP"`
	Return    json.RawMessage `json:"return"`
	Error     *wireError      `json:"error"`
	ID        json.RawMessage `json:"id"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp *struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// read is the reader goroutine: it ends with the connection, and ends it.
func (c *Conn) read() {
	defer close(c.reader)
	in := bufio.NewReaderSize(c.conn, 64<<10)
	greeted := false
	for {
		line, err := readLine(in)
		if err != nil {
			c.fail(err)
			return
		}
		if len(line) == 0 {
			continue
		}
		c.log.line(received, line)
		if err := c.dispatch(line, &greeted); err != nil {
			c.fail(err)
			return
		}
	}
}

// readLine returns one line without its end. The slice is the caller's.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > MaxLine {
			return nil, violation("line longer than %d bytes", MaxLine)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, fmt.Errorf("%w: peer left after %s", io.ErrUnexpectedEOF, excerpt(line))
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("peer left: %w", err)
		default:
			return nil, fmt.Errorf("read: %w", gone(err))
		}
	}
}

// gone turns the other two errors after QEMU's exit into io.EOF: QEMU 7.2 now and
// then ends with a reset.
func gone(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("peer left: %w: %w", io.EOF, err)
	}
	return err
}

func (c *Conn) dispatch(line []byte, greeted *bool) error {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return violation("bad line %s: %v", excerpt(line), err)
	}
	if !*greeted {
		if m.Greeting == nil {
			return violation("no greeting but %s", excerpt(line))
		}
		*greeted = true
		v := m.Greeting.Version
		c.greeting <- Version{v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro, v.Package}
		return nil
	}
	switch {
	case m.Event != "":
		c.events.publish(m.event(len(line)))
		return nil
	case m.Return != nil || m.Error != nil:
		return c.deliver(line, m)
	default:
		return violation("neither reply nor event: %s", excerpt(line))
	}
}

// deliver hands a reply to whoever waits for it. Replies may come in any
// order, and to commands whose callers gave up.
func (c *Conn) deliver(line []byte, m message) error {
	var id string
	if err := json.Unmarshal(m.ID, &id); err != nil {
		if m.Error != nil {
			// QEMU leaves out the id when it could not parse the command.
			return violation("error without id: %s: %s", m.Error.Class, m.Error.Desc)
		}
		return violation("reply without a valid id: %s", excerpt(line))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.pending[id]; ok {
		delete(c.pending, id)
		answer <- reply{ret: m.Return, err: m.Error}
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(id, idPrefix), 10, 64)
	if err != nil || !strings.HasPrefix(id, idPrefix) || n == 0 || n > c.lastID {
		return violation("reply to %q, which was never sent", cut(id))
	}
	return nil // late: its caller gave up
}

// excerpt quotes the beginning of a line for an error message.
func excerpt(line []byte) string { return strconv.QuoteToASCII(cut(string(line))) }

func cut(s string) string {
	const limit = 80
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
