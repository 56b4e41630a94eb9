package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// flood sends n numbered events and then answers one command, so that the
// command's return proves that all events were read.
func flood(p *peer, n int) {
	for i := range n {
		p.say(`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "TICK", "data": {"n": %d}}`, i)
	}
	h, _ := p.hear()
	p.say(`{"return": {}, "id": %q}`, h.ID)
}

func number(t *testing.T, e Event) int {
	t.Helper()
	var d struct{ N int }
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatal(err)
	}
	return d.N
}

func TestEventsAreReplayedToALateSubscription(t *testing.T) {
	c, p := connected(t, Options{})
	go flood(p, 3)
	if err := c.Execute(t.Context(), "sync", nil, nil); err != nil {
		t.Fatal(err)
	}
	a, b := c.Subscribe(0), c.Subscribe(10)
	for _, s := range []*Subscription{a, b} {
		for i := range 3 {
			e := <-s.C
			if number(t, e) != i || e.Name != "TICK" || !e.Time.Equal(time.Unix(1, 2000)) {
				t.Errorf("event %d = %+v", i, e)
			}
		}
	}
	b.Close()
	b.Close()
	if _, ok := <-b.C; ok {
		t.Error("a closed subscription gave an event")
	}
	c.Close()
	if _, ok := <-a.C; ok {
		t.Error("an event after the end")
	}
	// After the end: what there was, then the end.
	late := c.Subscribe(0)
	n := 0
	for range late.C {
		n++
	}
	if n != 3 {
		t.Errorf("%d events after the end", n)
	}
}

func TestFloodWithNoReader(t *testing.T) {
	c, p := connected(t, Options{Backlog: 10})
	slow := c.Subscribe(4)
	const n = 5000
	go flood(p, n)
	if err := c.Execute(t.Context(), "sync", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := slow.Dropped(); got != n-4 {
		t.Errorf("dropped = %d", got)
	}
	for i := range 4 {
		if got := number(t, <-slow.C); got != n-4+i {
			t.Errorf("event %d = %d: the newest must be kept", i, got)
		}
	}
	late := c.Subscribe(0)
	if got := late.Dropped(); got != n-10 {
		t.Errorf("a late subscription missed %d", got)
	}
	if got := number(t, <-late.C); got != n-10 {
		t.Errorf("backlog begins at %d", got)
	}
}

func TestOddEvents(t *testing.T) {
	c, p := connected(t, Options{})
	sub := c.Subscribe(0)
	go func() {
		p.say(`{"event": "BARE"}`)
		p.say(`{"event": "NOCLOCK", "timestamp": {"seconds": -1, "microseconds": -1}}`)
		p.say(`{"event": "LONG", "data": {"x": "%s"}}`, strings.Repeat("x", maxEvent))
	}()
	for _, want := range []Event{{Name: "BARE"}, {Name: "NOCLOCK"}, {Name: "LONG", Truncated: true}} {
		if got := <-sub.C; got.Name != want.Name || got.Truncated != want.Truncated || got.Data != nil || !got.Time.IsZero() {
			t.Errorf("event = %+v, want %+v", got, want)
		}
	}
}

func TestMonitor(t *testing.T) {
	c, p := connected(t, Options{Backlog: 2})
	m := c.Monitor()
	if err := m.Connect(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	events, err := m.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	unread, err := m.Events(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	go flood(p, 1)
	out, err := m.Run([]byte(`{"execute": "query-x", "arguments": {"a": 1}, "id": 7}`))
	if err != nil || string(out) != `{"return":{},"id":7}` {
		t.Errorf("Run = %s, %v", out, err)
	}
	e := <-events
	if e.Event != "TICK" || e.Data["n"] != 0.0 || e.Timestamp.Seconds != 1 || e.Timestamp.Microseconds != 2 {
		t.Errorf("event = %+v", e)
	}
	cancel()
	for range events { // ends because the context did
	}
	go flood(p, 100) // nobody reads `unread`
	if _, err := m.Run([]byte(`{"execute": "x"}`)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"execute": 1}`, `{"execute": "a", "exec-oob": "b"}`} {
		if _, err := m.Run([]byte(bad)); err == nil || c.Err() != nil {
			t.Errorf("Run(%s) = %v, connection %v", bad, err, c.Err())
		}
	}
	if err := m.Disconnect(); err != nil {
		t.Error(err)
	}
	for range unread { // ends because the connection did
	}
	if err := m.Connect(); !errors.Is(err, ErrClosed) {
		t.Errorf("Connect after Disconnect = %v", err)
	}
	if _, err := m.Events(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Events after Disconnect = %v", err)
	}
}

// failing is a full disk: it takes some writes and then no more.
type failing struct {
	room, calls int
}

var errFull = errors.New("no space left on device")

func (f *failing) Write(p []byte) (int, error) {
	f.calls++
	if f.room--; f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestTranscript(t *testing.T) {
	var buf bytes.Buffer
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c, p := connected(t, Options{Transcript: &buf, Now: func() time.Time { return at }})
	go func() { p.hear(); p.say("oops") }()
	_ = c.Execute(t.Context(), "x", nil, nil) // ends on the bad line
	c.Close()
	want := fmt.Sprintf(`{"time":"2026-01-02T03:04:05Z","dir":"recv","msg":%s}
{"time":"2026-01-02T03:04:05Z","dir":"send","msg":{"execute":"qmp_capabilities","id":"unwedge-1"}}
{"time":"2026-01-02T03:04:05Z","dir":"recv","msg":{"return":{},"id":"unwedge-1"}}
{"time":"2026-01-02T03:04:05Z","dir":"send","msg":{"execute":"x","id":"unwedge-2"}}
{"time":"2026-01-02T03:04:05Z","dir":"recv","text":"oops"}
`, strings.ReplaceAll(strings.ReplaceAll(hello, ": ", ":"), ", ", ","))
	if buf.String() != want {
		t.Errorf("transcript:\n%s\nwant:\n%s", buf.String(), want)
	}
}

func TestTranscriptOnAFullDisk(t *testing.T) {
	disk := &failing{room: 2}
	c, p := connected(t, Options{Transcript: disk})
	go flood(p, 10)
	if err := c.Execute(t.Context(), "sync", nil, nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if !errors.Is(c.TranscriptErr(), errFull) || disk.calls != 3 {
		t.Errorf("%d writes, %v", disk.calls, c.TranscriptErr())
	}
}

func TestTranscriptLimit(t *testing.T) {
	var buf bytes.Buffer
	c, p := connected(t, Options{Transcript: &buf, TranscriptBytes: 1000})
	go flood(p, 100)
	if err := c.Execute(t.Context(), "sync", nil, nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if buf.Len() > 1100 || !strings.HasSuffix(buf.String(), "left out\"}\n") || c.TranscriptErr() == nil {
		t.Errorf("%d bytes, %v", buf.Len(), c.TranscriptErr())
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       Change
		bad        bool
	}{
		// As QEMU 7.2 and 11.1 send them.
		{"SHUTDOWN", `{"guest": true, "reason": "guest-shutdown"}`, Change{Shutdown, true, "guest-shutdown"}, false},
		{"SHUTDOWN", `{"guest":false,"reason":"host-qmp-quit"}`, Change{Kind: Shutdown, Reason: "host-qmp-quit"}, false},
		{"RESET", `{"guest": true, "reason": "guest-reset"}`, Change{Reset, true, "guest-reset"}, false},
		{"GUEST_PANICKED", `{"action": "pause", "info": {"type": "hyper-v"}}`, Change{Kind: Panicked}, false},
		{"STOP", ``, Change{Kind: Stop}, false},
		{"NIC_RX_FILTER_CHANGED", `[]`, Change{}, false},
		{"RESET", `{"guest": "yes"}`, Change{Kind: Reset}, true},
		{"RESET", ``, Change{Kind: Reset}, true},
	} {
		got, err := Decode(Event{Name: tt.name, Data: json.RawMessage(tt.data)})
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%s %s: %+v, %v", tt.name, tt.data, got, err)
		}
	}
	if got, err := Decode(Event{Name: "RESET", Truncated: true}); got != (Change{Kind: Reset}) || err == nil {
		t.Errorf("truncated: %+v, %v", got, err)
	}
}
