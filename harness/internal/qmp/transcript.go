package qmp

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

type direction string

const (
	sent     direction = "send"
	received direction = "recv"
)

// entry is one line of the transcript.
type entry struct {
	Time time.Time `json:"time"`
	Dir  direction `json:"dir,omitempty"`
	// Msg is the line where it is JSON; Text is any other line.
	Msg  json.RawMessage `json:"msg,omitempty"`
	Text string          `json:"text,omitempty"`
	Note string          `json:"note,omitempty"`
}

type transcript struct {
	mu   sync.Mutex
	out  io.Writer // nil: no transcript, or no longer
	now  func() time.Time
	left int64
	err  error
}

func newTranscript(o Options) *transcript {
	return &transcript{out: o.Transcript, now: o.Now, left: o.TranscriptBytes}
}

func (t *transcript) line(d direction, line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == nil {
		return
	}
	e := entry{Time: t.now(), Dir: d}
	if json.Valid(line) {
		e.Msg = line
	} else {
		e.Text = string(line)
	}
	t.write(e)
}

// write is called with the lock held.
func (t *transcript) write(e entry) {
	b, err := json.Marshal(e)
	if err == nil && int64(len(b))+1 > t.left {
		err = fmt.Errorf("transcript has reached its limit")
		b, _ = json.Marshal(entry{Time: e.Time, Note: "limit reached, the rest is left out"})
		_, _ = t.out.Write(append(b, '\n')) // the error below says it anyway
	} else if err == nil {
		t.left -= int64(len(b)) + 1
		_, err = t.out.Write(append(b, '\n'))
	}
	if err != nil {
		t.err = fmt.Errorf("write QMP transcript: %w", err)
		t.out = nil
	}
}

func (t *transcript) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}
