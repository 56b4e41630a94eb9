package qmp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}`

// peer is a fake QEMU: one end of a pipe and the commands it has read.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

func newPeer(t *testing.T) (*peer, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	p := &peer{t: t, conn: far, in: bufio.NewScanner(far)}
	p.in.Buffer(nil, MaxLine)
	t.Cleanup(func() { far.Close() })
	return p, near
}

func (p *peer) say(format string, args ...any) {
	// An error means that the other side has left, which some tests want.
	_, _ = fmt.Fprintf(p.conn, format+"\n", args...)
}

type heard struct {
	Execute string          `json:"execute"`
	Args    json.RawMessage `json:"arguments"`
	ID      string          `json:"id"`
}

func (p *peer) hear() (heard, bool) {
	var h heard
	if !p.in.Scan() {
		return h, false
	}
	if err := json.Unmarshal(p.in.Bytes(), &h); err != nil {
		p.t.Errorf("command is not JSON: %q", p.in.Text())
	}
	return h, true
}

func (p *peer) handshake() {
	p.say(hello)
	if h, _ := p.hear(); h.Execute != "qmp_capabilities" {
		p.t.Errorf("first command = %q", h.Execute)
	} else {
		p.say(`{"return": {}, "id": %q}`, h.ID)
	}
}

// connected gives a session past its handshake.
func connected(t *testing.T, o Options) (*Conn, *peer) {
	t.Helper()
	p, near := newPeer(t)
	go p.handshake()
	c, err := New(t.Context(), near, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, p
}

func TestExecuteDecodesTheReply(t *testing.T) {
	c, p := connected(t, Options{})
	if got := c.Version(); got != (Version{7, 2, 22, "Debian"}) {
		t.Errorf("version = %+v", got)
	}
	go func() {
		h, _ := p.hear()
		p.say(`{"return": {"name": %q, "args": %s}, "id": %q}`, h.Execute, h.Args, h.ID)
	}()
	var out struct {
		Name string
		Args map[string]int
	}
	if err := c.Execute(t.Context(), "query-x", map[string]int{"a": 1}, &out); err != nil {
		t.Fatal(err)
	}
	if out.Name != "query-x" || out.Args["a"] != 1 {
		t.Errorf("reply = %+v", out)
	}
}

func TestCommandError(t *testing.T) {
	c, p := connected(t, Options{})
	go func() {
		h, _ := p.hear()
		p.say(`{"error": {"class": "CommandNotFound", "desc": "no such"}, "id": %q}`, h.ID)
	}()
	err := c.Execute(t.Context(), "nope", nil, nil)
	var refused *CommandError
	if !errors.As(err, &refused) || *refused != (CommandError{"nope", "CommandNotFound", "no such"}) {
		t.Fatalf("err = %v", err)
	}
	if c.Err() != nil {
		t.Errorf("a refused command ended the connection: %v", c.Err())
	}
}

func TestHandshakeFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		talk func(*peer)
		want error
	}{
		{"garbage", func(p *peer) { p.say("SSH-2.0-OpenSSH") }, ErrProtocol},
		{"json but no greeting", func(p *peer) { p.say(`{"return": {}}`) }, ErrProtocol},
		{"array", func(p *peer) { p.say(`[1]`) }, ErrProtocol},
		{"half a greeting", func(p *peer) { fmt.Fprint(p.conn, hello[:20]); p.conn.Close() }, io.ErrUnexpectedEOF},
		{"leaves at once", func(p *peer) { p.conn.Close() }, io.EOF},
		{"leaves after the greeting", func(p *peer) { p.say(hello); p.hear(); p.conn.Close() }, io.EOF},
		{"refuses capabilities", func(p *peer) {
			p.say(hello)
			h, _ := p.hear()
			p.say(`{"error": {"class": "GenericError", "desc": "no"}, "id": %q}`, h.ID)
		}, &CommandError{"qmp_capabilities", "GenericError", "no"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, near := newPeer(t)
			go tt.talk(p)
			c, err := New(t.Context(), near, Options{})
			if c != nil || err == nil {
				t.Fatalf("New = %v, %v", c, err)
			}
			var refused *CommandError
			if errors.As(tt.want, &refused) {
				if got := (*CommandError)(nil); !errors.As(err, &got) || *got != *refused {
					t.Errorf("err = %v, want %v", err, tt.want)
				}
			} else if !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestNoGreetingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near := newPeer(t)
		start := time.Now()
		_, err := New(t.Context(), near, Options{Timeout: 3 * time.Second})
		if !errors.Is(err, ErrNoReply) || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestSilenceIsBoundedAndLeavesTheConnectionUsable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connected(t, Options{})
		ids := make(chan string, 1)
		go func() { h, _ := p.hear(); ids <- h.ID }()
		start := time.Now()
		err := c.Execute(t.Context(), "query-status", nil, nil)
		if !errors.Is(err, ErrNoReply) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		if d := time.Since(start); d != DefaultTimeout {
			t.Errorf("gave up after %v", d)
		}
		// The late reply and the next one.
		go func() {
			p.say(`{"return": {"late": true}, "id": %q}`, <-ids)
			h, _ := p.hear()
			p.say(`{"return": {"late": false}, "id": %q}`, h.ID)
		}()
		var out struct{ Late *bool }
		if err := c.Execute(t.Context(), "again", nil, &out); err != nil || out.Late == nil || *out.Late {
			t.Errorf("reply = %+v, %v", out, err)
		}
	})
}

// A peer that reads nothing blocks the write itself.
func TestUnreadCommandIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connected(t, Options{Timeout: time.Second})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := c.Execute(t.Context(), "stuck", nil, nil); !errors.Is(err, ErrNoReply) {
					t.Errorf("err = %v", err)
				}
			})
		}
		wg.Wait()
		// Nothing was written, so the stream is whole and goes on.
		go func() { h, _ := p.hear(); p.say(`{"return": {}, "id": %q}`, h.ID) }()
		if err := c.Execute(t.Context(), "after", nil, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestCommandWrittenInPartEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connected(t, Options{Timeout: time.Second})
		go io.ReadFull(p.conn, make([]byte, 5)) // the fault under test
		err := c.Execute(t.Context(), "torn", nil, nil)
		if !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "5 of") {
			t.Errorf("err = %v", err)
		}
	})
}

func TestCancel(t *testing.T) {
	c, p := connected(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the user is gone")
	go func() { p.hear(); cancel(cause) }()
	err := c.Execute(ctx, "slow", nil, nil)
	if !errors.Is(err, cause) || errors.Is(err, ErrNoReply) {
		t.Errorf("err = %v", err)
	}
	if c.Err() != nil {
		t.Errorf("cancelling ended the connection: %v", c.Err())
	}
	if err := c.Execute(ctx, "not sent", nil, nil); !errors.Is(err, cause) {
		t.Errorf("err with a dead context = %v", err)
	}
}

func TestBadLinesEndTheConnection(t *testing.T) {
	for _, tt := range []struct{ name, line string }{
		{"garbage", "\x00\xff garbage"},
		{"torn JSON", `{"return": {`},
		{"empty object", `{}`},
		{"reply without id", `{"return": {}}`},
		{"error without id", `{"error": {"class": "GenericError", "desc": "JSON parse error"}}`},
		{"foreign id", `{"return": {}, "id": "libvirt-1"}`},
		{"id of the future", `{"return": {}, "id": "unwedge-999"}`},
		{"number as id", `{"return": {}, "id": 2}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, p := connected(t, Options{})
			go func() { p.hear(); p.say("%s", tt.line) }()
			err := c.Execute(t.Context(), "x", nil, nil)
			if !errors.Is(err, ErrClosed) || !errors.Is(err, ErrProtocol) {
				t.Errorf("err = %v", err)
			}
			if strings.ContainsAny(err.Error(), "\x00\n") || !utf8.ValidString(err.Error()) {
				t.Errorf("raw bytes in the error: %q", err)
			}
			<-c.Done()
		})
	}
}

func TestDisconnectInMidCommand(t *testing.T) {
	c, p := connected(t, Options{})
	const n = 8
	go func() {
		for range n {
			p.hear()
		}
		p.conn.Close()
	}()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := c.Execute(t.Context(), "x", nil, nil); !errors.Is(err, ErrClosed) || !errors.Is(err, io.EOF) {
				t.Errorf("err = %v", err)
			}
		})
	}
	wg.Wait()
	if err := c.Execute(t.Context(), "x", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
}

// quit is answered, and then the peer is gone at once.
func TestReplyBeforeTheEndCounts(t *testing.T) {
	for range 50 {
		p, near := newPeer(t)
		go func() {
			p.handshake()
			h, _ := p.hear()
			p.say(`{"return": {}, "id": %q}`, h.ID)
			p.conn.Close()
		}()
		c, err := New(t.Context(), near, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Execute(t.Context(), "quit", nil, nil); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func TestLineLimit(t *testing.T) {
	c, p := connected(t, Options{})
	go func() {
		h, _ := p.hear()
		p.say(`{"return": "%s", "id": %q}`, strings.Repeat("x", 300<<10), h.ID)
		p.hear()
		junk := bytes.Repeat([]byte("y"), 1<<20)
		for range 20 {
			if _, err := p.conn.Write(junk); err != nil {
				return
			}
		}
	}()
	var big string
	if err := c.Execute(t.Context(), "query-qmp-schema", nil, &big); err != nil || len(big) != 300<<10 {
		t.Fatalf("300 KiB reply: %d bytes, %v", len(big), err)
	}
	if err := c.Execute(t.Context(), "x", nil, nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("20 MiB line: %v", err)
	}
}

func TestParallelCommandsAnsweredInAnyOrder(t *testing.T) {
	c, p := connected(t, Options{})
	const n = 100
	go func() {
		var all []heard
		for range n {
			h, _ := p.hear()
			all = append(all, h)
		}
		for i := range all {
			h := all[len(all)-1-i]
			p.say(`{"return": %s, "id": %q}`, h.Args, h.ID)
		}
	}()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var out map[string]int
			if err := c.Execute(t.Context(), "echo", map[string]int{"n": i}, &out); err != nil || out["n"] != i {
				t.Errorf("%d: %v, %v", i, out, err)
			}
		})
	}
	wg.Wait()
}

func TestCloseIsIdempotentAndSaysWho(t *testing.T) {
	c, _ := connected(t, Options{})
	c.Close()
	c.Close()
	if err := c.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "harness") {
		t.Errorf("err = %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{Timeout: -1}, {Backlog: -1}, {Backlog: 1 << 17}} {
		near, far := net.Pipe()
		if _, err := New(t.Context(), near, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
		far.Close()
	}
}

func TestDialErrors(t *testing.T) {
	if _, err := Dial(t.Context(), t.TempDir()+"/none.sock", Options{}); err == nil {
		t.Error("dialled a socket that is not there")
	}
	if _, err := Dial(t.Context(), "/"+strings.Repeat("x", 120), Options{}); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("long path: %v", err)
	}
}

func TestHMP(t *testing.T) {
	c, p := connected(t, Options{})
	go func() {
		h, _ := p.hear()
		p.say(`{"return": "<%s>\r\n", "id": %q}`, strings.ReplaceAll(string(h.Args), `"`, `'`), h.ID)
	}()
	out, err := c.HMP(t.Context(), "info registers -a")
	if err != nil || out != "<{'command-line':'info registers -a'}>\r\n" {
		t.Errorf("HMP = %q, %v", out, err)
	}
}
