package gdb

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/probe/gdb/gdbtest"
)

// serve attaches to a stub.
func serve(t *testing.T, s *gdbtest.Stub) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(theirs) }()
	t.Cleanup(func() { ours.Close(); <-served })
	c, err := Attach(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stub() *gdbtest.Stub {
	return &gdbtest.Stub{
		Regs:   map[string]map[int]uint64{"01": {0: 1, 16: 0xffffffff81000000}, "02": {0: 2}},
		Memory: map[uint64]byte{}, Breaks: map[uint64]bool{},
		Run: func(*gdbtest.Stub, string) string { return "T05thread:02;" },
	}
}

func TestGuest(t *testing.T) {
	s := stub()
	c := serve(t, s)
	ctx := t.Context()
	if v, err := c.Register(ctx, 16); err != nil || v != 0xffffffff81000000 {
		t.Errorf("register 16: %#x, %v", v, err)
	}
	if err := errors.Join(c.SetRegister(ctx, 0, 8, 0x1122334455667788), c.Select(ctx, "02"), c.SetRegister(ctx, 0, 4, 0xaabbccdd99)); err != nil {
		t.Error(err)
	}
	if s.Regs["01"][0] != 0x1122334455667788 || s.Regs["02"][0] != 0xbbccdd99 {
		t.Errorf("registers %x", s.Regs)
	}
	long := bytes.Repeat([]byte{1, 2, 3}, 1000)
	if err := c.Write(ctx, 0x1000, long); err != nil {
		t.Error(err)
	}
	back := make([]byte, len(long))
	if err := c.Read(ctx, 0x1000, back); err != nil || !bytes.Equal(back, long) {
		t.Errorf("read back %d bytes that differ, %v", len(back), err)
	}
	if err := c.Break(ctx, 0xff00, 1); err != nil || !s.Breaks[0xff00] {
		t.Errorf("breakpoints %v, %v", s.Breaks, err)
	}
	if stop, err := c.Continue(ctx); err != nil || stop.Thread != "02" || !stop.Trap() {
		t.Errorf("stopped by %+v, %v", stop, err)
	}
	if _, err := c.Step(ctx, "02"); err != nil || !slices.Contains(s.Packets, "vCont;s:02") {
		t.Error(err, s.Packets)
	}
	if err := c.Clear(ctx, 0xff00, 1); err != nil || s.Breaks[0xff00] {
		t.Errorf("breakpoints %v, %v", s.Breaks, err)
	}
	if err := c.Detach(ctx); err != nil || s.Packets[len(s.Packets)-1] != "D" {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	c := serve(t, stub())
	ctx := t.Context()
	_, noRegister := c.Register(ctx, 77)
	for what, err := range map[string]error{
		"register": noRegister, "memory": c.Read(ctx, 0x5, make([]byte, 4)), "thread": c.Select(ctx, "07"),
	} {
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Answer == "" {
			t.Errorf("%s that is not there: %v", what, err)
		}
	}
	if _, err := c.Register(ctx, 0); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}

// A guest that does not come to where it should is stopped when time is up, and
// can be asked on.
func TestContinueIsBounded(t *testing.T) {
	s := stub()
	s.Run = func(*gdbtest.Stub, string) string { return "" }
	c := serve(t, s)
	late := errors.New("late")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(late) })
	if _, err := c.Continue(ctx); !errors.Is(err, late) {
		t.Errorf("error %v, want the context's cause", err)
	}
	if _, err := c.Register(t.Context(), 0); err != nil {
		t.Errorf("after the interruption: %v", err)
	}
}

func TestHostilePeers(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":                  "",
		"no gdb":                   "HTTP/1.1 400 Bad Request\r\n\r\n",
		"no ack":                   "$OK#9a",
		"never content":            strings.Repeat("-", 100),
		"wrong checksum":           "+$OK#00",
		"no checksum":              "+$OK#zz",
		"torn":                     "+$O",
		"endless":                  "+$" + strings.Repeat("a", 2*maxPacket),
		"endless acks":             strings.Repeat("+", 2*maxPacket),
		"no stop":                  "+$OK#9a+$OK#9a+$W00#b7",
		"short stop":               "+$OK#9a+$OK#9a+$T#54",
		"bad signal":               "+$OK#9a+$OK#9a+$Txx#44",
		"thread that is no number": "+$OK#9a+$OK#9a+$T05thread:$;#" + "bd",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				b := make([]byte, 4096)
				for {
					if _, err := theirs.Read(b); err != nil {
						return
					}
				}
			}()
			go func() {
				theirs.Write([]byte(said)) // as far as anybody reads it
				theirs.Close()
			}()
			c, err := Attach(t.Context(), ours)
			if err == nil || c != nil {
				t.Errorf("attached to it: %v, %v", c, err)
			}
			ours.Close()
			<-drained
		})
	}
}

func FuzzStop(f *testing.F) {
	f.Add("T05thread:01;")
	f.Add("S05")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseStop(text); err != nil && s != (Stop{}) {
			t.Errorf("%+v with error %v", s, err)
		}
	})
}
