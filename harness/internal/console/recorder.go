// Package console reads the guest's console without losing a byte and without
// making the guest wait.
//
// A console that nobody drains stalls the guest that prints to it. So one
// goroutine only reads, another writes the log file, and consumers take lines at
// their own speed from a bounded buffer that counts what they missed.
package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	chunkSize = 64 << 10
	maxLag    = 4 << 20 // how far the log file may lag behind before reading waits
)

// ErrReadOnly is returned by Write when the source takes no bytes.
var ErrReadOnly = errors.New("console takes no input")

// Options of a Recorder. The zero value works.
type Options struct {
	// MaxBytes caps the log file, which keeps the beginning and the end of a
	// longer stream, with a line between them that says how many bytes are left
	// out. At least 4096; zero means 64 MiB.
	MaxBytes int64
	// MaxTail is how much of MaxBytes is for the end. It is held in memory.
	// At most half of MaxBytes; zero means 4 MiB or half, the smaller.
	MaxTail int64
	// MemoryBytes bounds the lines held for consumers. At least twice
	// MaxLine; zero means 8 MiB.
	MemoryBytes int
	// Gather is how long reading waits after each piece, so that what the guest prints
	// meanwhile is taken in one go; the times of lines are good to that. The source
	// must hold what comes in that time. Zero means that each piece is read at once.
	Gather time.Duration
	// WriteTimeout bounds one Write to the guest. Zero means 5 s.
	WriteTimeout time.Duration
	// Now is the clock. Nil means time.Now, which is monotonic.
	Now func() time.Time
}

func (o Options) withDefaults() (Options, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxTail == 0 {
		o.MaxTail = min(4<<20, o.MaxBytes/2)
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 8 << 20
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.MaxBytes < 4096:
		return o, fmt.Errorf("console log limit of %d bytes is less than 4096", o.MaxBytes)
	case o.MaxTail < 0 || o.MaxTail > o.MaxBytes/2:
		return o, fmt.Errorf("console tail of %d bytes is not between 0 and half of the limit, %d", o.MaxTail, o.MaxBytes/2)
	case o.MemoryBytes < 2*MaxLine:
		return o, fmt.Errorf("console memory of %d bytes is less than %d", o.MemoryBytes, 2*MaxLine)
	}
	return o, nil
}

// Stats are the facts about the stream so far.
type Stats struct {
	Bytes int64
	Lines int64
	// Last is when the newest bytes were read; zero before the first.
	Last time.Time
	// Stalls counts how often reading waited for the log file: only then may the
	// harness have slowed the guest down.
	Stalls int64
	// Ended says that nothing will follow.
	Ended bool
}

// Recorder records one console. All methods may be called from any goroutine.
type Recorder struct {
	src  io.Reader
	opts Options
	log  *logfile

	lag   backlog       // read, to be written to the log
	done  chan struct{} // closed when the log is complete
	hurry chan struct{} // closed when Close is called
	sync  chan struct{} // has one when Sync is called

	writing sync.Mutex

	mu      sync.Mutex
	split   splitter
	lines   store
	stats   Stats
	wake    chan struct{} // closed at the next news; nil when nobody waits
	closing bool
	readErr error
	logErr  error
}

// Record begins to read src, until its end or until Close. The raw bytes go to
// log, which the Recorder closes; a nil log means none. Reading cannot be
// stopped unless src is an io.Closer.
func Record(src io.Reader, log File, o Options) (*Recorder, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = noFile{}
	}
	r := &Recorder{
		src: src, opts: o, log: newLogfile(log, o.MaxBytes, o.MaxTail),
		lag: newBacklog(maxLag), done: make(chan struct{}), hurry: make(chan struct{}), sync: make(chan struct{}, 1), split: splitter{max: MaxLine}, lines: store{budget: o.MemoryBytes},
	}
	go r.read()
	go r.writeLog()
	return r, nil
}

// read drains the source. It does memory work only.
func (r *Recorder) read() {
	defer r.lag.end()
	var err error
	buf := make([]byte, chunkSize)
	for idle := 0; err == nil; {
		var n int
		n, err = r.src.Read(buf)
		if n > 0 {
			idle = 0
			r.accept(buf[:n])
		} else if idle++; idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
		if r.lag.put(buf[:n]) {
			r.mu.Lock()
			r.stats.Stalls++
			r.mu.Unlock()
		}
		if n > 0 && n < len(buf) {
			r.gather()
		}
	}
	r.end(err)
}

// gather waits until more has come, or the Recorder is to close.
func (r *Recorder) gather() {
	if r.opts.Gather <= 0 {
		return
	}
	wait := time.NewTimer(r.opts.Gather)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.sync:
	case <-r.hurry:
	}
}

// maxSync bounds Sync: the log's disk may make reading wait.
const maxSync = time.Second

// Sync waits until what has come by now is recorded, where the source counts that.
func (r *Recorder) Sync() {
	c, ok := r.src.(interface{ Came() int64 })
	if !ok {
		return
	}
	came, late := c.Came(), time.After(maxSync)
	for {
		r.mu.Lock()
		if r.stats.Bytes >= came || r.stats.Ended {
			r.mu.Unlock()
			return
		}
		news := r.waken()
		r.mu.Unlock()
		select {
		case r.sync <- struct{}{}:
		default:
		}
		select {
		case <-news:
		case <-late:
			return
		}
	}
}

func (r *Recorder) accept(p []byte) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Bytes += int64(len(p))
	r.stats.Last = now
	r.split.feed(p, now, r.keep)
	r.news()
}

// keep and news are called with the lock held.
func (r *Recorder) keep(l Line) {
	r.stats.Lines++
	r.lines.add(l)
}

func (r *Recorder) news() {
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// waken is what the next news closes. It is called with the lock held.
func (r *Recorder) waken() <-chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake
}

func (r *Recorder) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.split.finish(r.keep)
	r.stats.Ended = true
	// QEMU's exit may show as a reset; so may our own Close as an error.
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !r.closing {
		r.readErr = fmt.Errorf("read console: %w", err)
	}
	r.news()
}

func (r *Recorder) writeLog() {
	defer close(r.done)
	for buf := range r.lag.all() {
		r.log.write(buf)
		if r.log.err != nil {
			r.setLogErr(r.log.err)
		}
	}
	r.setLogErr(r.log.finish())
}

func (r *Recorder) setLogErr(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logErr = err
}

// Write sends keys to the guest's console, all of p or an error, within
// Options.WriteTimeout where the source has write deadlines.
func (r *Recorder) Write(p []byte) (int, error) {
	w, ok := r.src.(io.Writer)
	if !ok {
		return 0, ErrReadOnly
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if c, ok := r.src.(interface{ SetWriteDeadline(time.Time) error }); ok {
		if err := c.SetWriteDeadline(time.Now().Add(r.opts.WriteTimeout)); err != nil {
			return 0, fmt.Errorf("write to console: %w", err)
		}
	}
	n, err := w.Write(p)
	if err != nil {
		return n, fmt.Errorf("write to console: %w", err)
	}
	return n, nil
}

// Close stops reading, completes the log file and returns what Err does. The
// lines stay readable. Closing twice is harmless.
func (r *Recorder) Close() error {
	r.mu.Lock()
	again := r.closing
	r.closing = true
	r.mu.Unlock()
	if !again {
		close(r.hurry)
		r.closeSource()
	}
	<-r.done
	return r.Err()
}

// lastLook is how long Close reads on where the source does not end.
const lastLook = 20 * time.Millisecond

// closeSource ends the reading, and has it first take what has come, where the source
// has read deadlines.
func (r *Recorder) closeSource() {
	c, ok := r.src.(io.Closer)
	if !ok {
		return
	}
	if d, ok := r.src.(interface{ SetReadDeadline(time.Time) error }); ok && d.SetReadDeadline(time.Now().Add(lastLook)) == nil {
		<-r.done
	}
	_ = c.Close() // an error would say that reading had ended already
}

// Done is closed when the stream has ended and the log file is complete.
func (r *Recorder) Done() <-chan struct{} { return r.done }

// Err is what went wrong so far: with the log file, which then has a hole
// while the lines go on, or with reading. The end of the stream is no error.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.readErr, r.logErr)
}

// Stats returns the facts about the stream so far.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Partial returns the unfinished last line, where there is one: firmware,
// prompts and panics often end without a newline.
func (r *Recorder) Partial() (Line, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats.Ended {
		return Line{}, false // it became the last line
	}
	return r.split.partial()
}

// Since returns the complete lines that end after offset, and how many bytes
// between offset and the first of them are no longer in memory.
func (r *Recorder) Since(offset int64) (lines []Line, dropped int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines = slices.Clone(r.lines.from(offset))
	if len(lines) > 0 {
		dropped = max(0, lines[0].Offset-offset)
	}
	return lines, dropped
}

// Tail returns the newest n complete lines.
func (r *Recorder) Tail(n int) []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := r.lines.held()
	return slices.Clone(held[max(0, len(held)-max(n, 0)):])
}

// Cursor reads the lines one after the other. It is for one goroutine.
type Cursor struct {
	r       *Recorder
	pos     int64
	dropped int64
}

// Lines returns a cursor whose first line is the one that has the byte at
// offset; 0 is the beginning.
func (r *Recorder) Lines(offset int64) *Cursor { return &Cursor{r: r, pos: max(offset, 0)} }

// Next waits for the next complete line. io.EOF is the end of the stream, the
// context's error that of ctx.
func (c *Cursor) Next(ctx context.Context) (Line, error) {
	for {
		v := c.r.look(c.pos, false)
		if v.found {
			c.take(v.line)
			return v.line, nil
		}
		if v.wake == nil {
			return Line{}, io.EOF
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return Line{}, context.Cause(ctx)
		}
	}
}

func (c *Cursor) take(l Line) {
	c.dropped += max(0, l.Offset-c.pos)
	c.pos = l.End
}

// Offset is the end of the last line given: where another cursor would go on.
func (c *Cursor) Offset() int64 { return c.pos }

// Dropped counts the bytes that this cursor missed because it was slower than
// Options.MemoryBytes allows. They are in the log file.
func (c *Cursor) Dropped() int64 { return c.dropped }

// view is what follows an offset: a line, or something to wait for, or neither at
// the end.
type view struct {
	line  Line
	found bool
	part  Line // the unfinished line, when asked for
	wake  <-chan struct{}
}

func (r *Recorder) look(offset int64, partial bool) view {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lines := r.lines.from(offset); len(lines) > 0 {
		return view{line: lines[0], found: true}
	}
	if r.stats.Ended {
		return view{}
	}
	v := view{wake: r.waken()}
	if rest := r.split.rest; partial && len(rest) > 0 {
		v.part = Line{
			Offset: r.split.offset, End: r.split.offset + int64(len(rest)),
			Text: bytes.Clone(rest[:min(len(rest), partialLimit)]), At: r.split.at, Partial: true,
		}
	}
	return v
}

// noFile is the log of a Recorder that has none.
type noFile struct{}

func (noFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (noFile) Truncate(int64) error                   { return nil }
func (noFile) Close() error                           { return nil }
