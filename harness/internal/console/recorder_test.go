package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memFile is a File in memory whose writes can fail or wait.
type memFile struct {
	mu     sync.Mutex
	data   []byte
	room   int // bytes until the disk is full; negative: never
	gate   chan struct{}
	closed int
}

var errFull = errors.New("no space left on device")

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
	if f.gate != nil {
		<-f.gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(p)
	if f.room >= 0 {
		n = min(n, max(0, f.room-int(at)))
	}
	if grow := int(at) + n - len(f.data); grow > 0 && n > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	copy(f.data[min(int(at), len(f.data)):], p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func (f *memFile) Truncate(n int64) error { f.data = f.data[:n]; return nil }
func (f *memFile) Close() error           { f.closed++; return nil }

func record(t *testing.T, src io.Reader, log File, o Options) *Recorder {
	t.Helper()
	r, err := Record(src, log, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestLosslessOverASocket(t *testing.T) {
	near, far := net.Pipe()
	path := filepath.Join(t.TempDir(), "console.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, near, f, Options{})
	var want bytes.Buffer
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		fmt.Fprintf(&want, "[%5d.000000] %s\r\n", i, strings.Repeat("x", rnd.IntN(100)))
	}
	want.WriteString("login: ")
	go func() {
		for b := want.Bytes(); len(b) > 0; {
			n := min(len(b), 1+rnd.IntN(9000))
			far.Write(b[:n])
			b = b[n:]
		}
		far.Close()
	}()
	// Two consumers at once, one of them through the matcher.
	matched := make(chan error, 1)
	go func() {
		_, err := r.WaitFor(t.Context(), 0, Substring("[19999.0"))
		matched <- err
	}()
	var got bytes.Buffer
	c := r.Lines(0)
	for {
		l, err := c.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got.Write(l.Text)
		if !l.Partial {
			got.WriteString("\r\n")
		}
	}
	<-r.Done()
	if err := <-matched; err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("the lines are not the stream")
	}
	file, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(file, want.Bytes()) {
		t.Errorf("the file is not the stream: %d of %d bytes, %v", len(file), want.Len(), err)
	}
	s := r.Stats()
	if s.Bytes != int64(want.Len()) || s.Lines != 20001 || !s.Ended || s.Last.IsZero() {
		t.Errorf("stats = %+v", s)
	}
	if err := r.Close(); err != nil || c.Dropped() != 0 {
		t.Errorf("err = %v, dropped = %d", err, c.Dropped())
	}
}

func TestLogLimit(t *testing.T) {
	const limit, tail = 10000, 3000
	for _, total := range []int{0, 1, 6999, 7000, 7001, 9999, 10000, 10001, 12000, 100000} {
		for _, chunk := range []int{1, 999, 4096, 64 << 10} {
			t.Run(fmt.Sprintf("%d by %d", total, chunk), func(t *testing.T) {
				stream := make([]byte, total)
				for i := range stream {
					stream[i] = "0123456789abcdef\n"[i%17]
				}
				f := &memFile{room: -1}
				l := newLogfile(f, limit, tail)
				for rest := stream; len(rest) > 0; {
					n := min(chunk, len(rest))
					l.write(rest[:n])
					rest = rest[n:]
				}
				if err := l.finish(); err != nil || f.closed != 1 {
					t.Fatalf("err = %v, closed %d times", err, f.closed)
				}
				want := string(stream)
				if total > limit {
					head, end := want[:limit-tail], want[total-tail:]
					if !strings.HasSuffix(head, "\n") {
						head += "\n"
					}
					want = fmt.Sprintf("%s[unwedge: %d bytes of console output left out here]\n%s", head, total-limit, end)
				}
				if string(f.data) != want {
					t.Errorf("file of %d bytes:\n%.100q\nwant %d:\n%.100q", len(f.data), f.data, len(want), want)
				}
			})
		}
	}
}

// A guest that prints without end costs neither memory nor disk, and its
// last words are kept.
func TestGigabytes(t *testing.T) {
	line := []byte(strings.Repeat("y", 99) + "\n")
	const lines = 1 << 20 // 100 MiB is enough to see a leak of any kind
	src := io.MultiReader(&repeat{line: line, left: lines}, strings.NewReader("last words"))
	f := &memFile{room: -1}
	r := record(t, src, f, Options{MaxBytes: 1 << 20, MemoryBytes: 1 << 20})
	<-r.Done()
	c := r.Lines(0)
	n, held := 0, 0
	var last Line
	for {
		l, err := c.Next(t.Context())
		if err != nil {
			break
		}
		n, held, last = n+1, held+len(l.Text)+lineCost, l
	}
	if held > 1<<20 || cap(r.lines.lines) > 64<<10 {
		t.Errorf("%d bytes in %d lines held, capacity %d", held, n, cap(r.lines.lines))
	}
	if c.Dropped()+int64(n-1)*100+10 != r.Stats().Bytes {
		t.Errorf("dropped %d and %d lines do not make %d", c.Dropped(), n, r.Stats().Bytes)
	}
	if string(last.Text) != "last words" || !last.Partial || !bytes.HasSuffix(f.data, []byte("last words")) {
		t.Errorf("last line = %q, file ends %q", last.Text, f.data[len(f.data)-20:])
	}
	if len(f.data) > 1<<20+100 {
		t.Errorf("file has %d bytes", len(f.data))
	}
}

// repeat gives one line many times.
type repeat struct {
	line []byte
	left int
}

func (s *repeat) Read(p []byte) (int, error) {
	n := 0
	for s.left > 0 && len(p)-n >= len(s.line) {
		n += copy(p[n:], s.line)
		s.left--
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestFullDiskDoesNotStopReading(t *testing.T) {
	f := &memFile{room: 1000}
	r := record(t, &repeat{line: []byte("0123456789\n"), left: 100000}, f, Options{})
	<-r.Done()
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("err = %v", err)
	}
	if s := r.Stats(); s.Bytes != 1100000 || s.Lines != 100000 {
		t.Errorf("stats = %+v", s)
	}
	if len(f.data) != 1000 || f.closed != 1 {
		t.Errorf("%d bytes, closed %d times", len(f.data), f.closed)
	}
}

func TestSpaceThatComesBackHoldsTheTail(t *testing.T) {
	f := &memFile{room: 1000}
	l := newLogfile(f, 10000, 300)
	for range 3 {
		l.write(bytes.Repeat([]byte("x"), 999))
	}
	f.room = -1
	if err := l.finish(); !errors.Is(err, errFull) {
		t.Errorf("err = %v", err)
	}
	want := strings.Repeat("x", 1000) + "\n[unwedge: 1697 bytes of console output left out here]\n" + strings.Repeat("x", 300)
	if string(f.data) != want {
		t.Errorf("file = %q", f.data)
	}
}

// While the disk stands still, reading goes on.
func TestSlowDiskDoesNotStopReading(t *testing.T) {
	f := &memFile{room: -1, gate: make(chan struct{})}
	near, far := net.Pipe()
	r := record(t, near, f, Options{})
	const n = 32 // chunks; the log may be 64 behind
	for i := range n {
		fmt.Fprintf(far, "line %d\n", i) // returns only when it was read
	}
	found, err := r.WaitFor(t.Context(), 0, Substring(fmt.Sprintf("line %d", n-1)))
	if err != nil || found.Line.Partial {
		t.Errorf("%+v, %v", found, err)
	}
	close(f.gate)
	far.Close()
	<-r.Done()
	if s := r.Stats(); s.Stalls != 0 || int64(len(f.data)) != s.Bytes {
		t.Errorf("stats = %+v, file %d bytes", s, len(f.data))
	}
}

func TestPartialLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		r := record(t, near, nil, Options{})
		if _, ok := r.Partial(); ok {
			t.Error("a partial line of nothing")
		}
		start := time.Now()
		time.Sleep(time.Minute)
		fmt.Fprint(far, "ok\nKernel panic")
		synctest.Wait()
		l, ok := r.Partial()
		if !ok || string(l.Text) != "Kernel panic" || l.Offset != 3 || l.End != 15 || !l.Partial || l.At.Sub(start) != time.Minute {
			t.Errorf("partial = %+v, %v", l, ok)
		}
		far.Close()
		synctest.Wait()
		if _, ok := r.Partial(); ok {
			t.Error("the line is still partial after the end")
		}
		if tail := r.Tail(1); len(tail) != 1 || string(tail[0].Text) != "Kernel panic" || !tail[0].Partial {
			t.Errorf("tail = %+v", tail)
		}
	})
}

func TestWaitFor(t *testing.T) {
	near, far := net.Pipe()
	r := record(t, near, nil, Options{})
	fmt.Fprint(far, "one\n\x1b[1mtw\x1b[0mo\none\nlogin: ")
	for _, tt := range []struct {
		name   string
		from   int64
		m      Matcher
		offset int64
		group  string
	}{
		{"first", 0, Substring("one"), 0, "one"},
		{"behind an offset", 4, Substring("one"), 16, "one"},
		{"through colours", 0, Substring("two"), 4, "two"},
		{"groups", 0, Regexp(regexp.MustCompile(`^(t.)o$`)), 4, "tw"},
		{"a prompt", 0, Substring("login:"), 20, "login:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := r.WaitFor(t.Context(), tt.from, tt.m)
			if err != nil || f.Line.Offset != tt.offset || string(f.Groups[len(f.Groups)-1]) != tt.group {
				t.Errorf("found %+v, %v", f, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.WaitFor(ctx, 0, Substring("never")); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `"never"`) {
		t.Errorf("err = %v", err)
	}
	late := make(chan error, 1)
	go func() { _, err := r.WaitFor(t.Context(), 0, Substring("never")); late <- err }()
	far.Close()
	if err := <-late; !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "login") {
		t.Errorf("err = %v", err)
	}
}

func TestWaitForEmptyTextNeedsALine(t *testing.T) {
	r := record(t, strings.NewReader(""), nil, Options{})
	if _, err := r.WaitFor(t.Context(), 0, Substring("")); !errors.Is(err, ErrEnded) {
		t.Errorf("err = %v", err)
	}
}

func TestCursorEndsWithItsContext(t *testing.T) {
	near, _ := net.Pipe()
	r := record(t, near, nil, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lines(0).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestSince(t *testing.T) {
	r := record(t, strings.NewReader("one\ntwo\nthree\n"), nil, Options{})
	<-r.Done()
	for _, tt := range []struct {
		from int64
		want string
	}{{0, "one two three"}, {3, "one two three"}, {4, "two three"}, {5, "two three"}, {14, ""}, {99, ""}} {
		lines, dropped := r.Since(tt.from)
		var got []string
		for _, l := range lines {
			got = append(got, string(l.Text))
		}
		if strings.Join(got, " ") != tt.want || dropped != 0 {
			t.Errorf("Since(%d) = %q, %d", tt.from, got, dropped)
		}
	}
}

func TestWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		r := record(t, near, nil, Options{WriteTimeout: time.Second})
		go func() {
			if _, err := r.Write([]byte("root\n")); err != nil {
				t.Error(err)
			}
		}()
		buf := make([]byte, 5)
		if _, err := io.ReadFull(far, buf); err != nil || string(buf) != "root\n" {
			t.Errorf("guest read %q, %v", buf, err)
		}
		// A guest that reads nothing.
		start := time.Now()
		if _, err := r.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
	r := record(t, strings.NewReader(""), nil, Options{})
	if _, err := r.Write([]byte("x")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("err = %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errFull }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestReadErrors(t *testing.T) {
	for src, want := range map[io.Reader]error{broken{}: errFull, idle{}: io.ErrNoProgress} {
		r := record(t, src, nil, Options{})
		<-r.Done()
		if err := r.Err(); !errors.Is(err, want) {
			t.Errorf("err = %v, want %v", err, want)
		}
	}
}

func TestCloseIsNoError(t *testing.T) {
	near, _ := net.Pipe()
	r := record(t, near, nil, Options{})
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// counted is a source that says how much has come.
type counted struct {
	io.ReadCloser
	came atomic.Int64
}

func (c *counted) Came() int64 { return c.came.Load() }

// Sync takes what has come, and does not wait for more.
func TestSyncTakesWhatHasCome(t *testing.T) {
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	src := &counted{ReadCloser: near}
	r := record(t, src, nil, Options{Gather: time.Hour})
	for _, text := range []string{"first\n", "second\n", "third\n"} {
		if _, err := far.WriteString(text); err != nil {
			t.Fatal(err)
		}
		want := src.came.Add(int64(len(text)))
		r.Sync()
		if got := r.Stats().Bytes; got != want {
			t.Errorf("after %q %d bytes are recorded, want %d", text, got, want)
		}
	}
	r.Sync() // nothing has come
	far.Close()
	near.Close()
}

// What comes while the Recorder gathers is not lost by Close.
func TestCloseTakesWhatHasCome(t *testing.T) {
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	log := &memFile{room: -1}
	r := record(t, near, log, Options{Gather: time.Hour})
	if _, err := far.WriteString("first\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lines(0).Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := far.WriteString("second"); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got := string(log.data); got != "first\nsecond" {
		t.Errorf("the log has %q", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{MaxBytes: 1}, {MaxTail: -1}, {MaxBytes: 5000, MaxTail: 3000}, {MemoryBytes: 1}} {
		if _, err := Record(strings.NewReader(""), nil, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
