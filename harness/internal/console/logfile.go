package console

import (
	"fmt"
	"io"
)

// File is where the raw bytes go. *os.File is one.
type File interface {
	io.WriterAt
	Truncate(size int64) error
	Close() error
}

// logfile writes a stream to a file of bounded size. Up to the limit the file
// is the stream, byte for byte. Of a longer stream it keeps the beginning and,
// once finished, a line that says how much is left out, and the end.
type logfile struct {
	file  File
	limit int64 // of the stream as it is in the file
	tail  ring  // the newest bytes, from keep on
	keep  int64 // what comes before this offset is never given up

	total   int64 // bytes of the stream so far
	written int64 // of these, in the file
	prev    byte  // the last byte of the stream so far
	last    byte  // the one before keep
	err     error
}

func newLogfile(f File, limit, tail int64) *logfile {
	return &logfile{file: f, limit: limit, keep: limit - tail, tail: ring{size: int(tail)}}
}

// write takes the next bytes of the stream. After a write error, which err keeps,
// bytes are lost and the file is not tried again until finish.
func (l *logfile) write(p []byte) {
	if len(p) == 0 {
		return
	}
	from := l.total
	l.total += int64(len(p))
	if l.err == nil && l.written == from && from < l.limit {
		n, err := l.file.WriteAt(p[:min(int64(len(p)), l.limit-from)], from)
		l.written += int64(n)
		if err != nil {
			l.err = fmt.Errorf("write console log: %w", err)
			l.keep = min(l.keep, l.written)
		}
	}
	if l.total > l.keep {
		l.remember(p, from)
	}
	l.prev = p[len(p)-1]
}

// remember keeps in memory what lies behind keep.
func (l *logfile) remember(p []byte, from int64) {
	if n := l.keep - from; n > 0 {
		l.last = p[n-1]
		p = p[n:]
	} else if n == 0 {
		l.last = l.prev
	}
	l.tail.write(p)
}

// finish brings the end of the stream into the file and closes it.
func (l *logfile) finish() error {
	if l.total > l.written {
		l.writeTail()
	}
	if err := l.file.Close(); err != nil && l.err == nil {
		l.err = fmt.Errorf("close console log: %w", err)
	}
	return l.err
}

func (l *logfile) writeTail() {
	end := l.tail.bytes()
	omitted := l.total - l.keep - int64(len(end))
	var out []byte
	if omitted > 0 {
		if l.keep > 0 && l.last != '\n' {
			out = append(out, '\n')
		}
		out = fmt.Appendf(out, "[unwedge: %d bytes of console output left out here]\n", omitted)
	}
	out = append(out, end...)
	n, err := l.file.WriteAt(out, l.keep)
	if err == nil {
		err = l.file.Truncate(l.keep + int64(n))
	}
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write end of console log: %w", err)
	}
}

// ring holds the newest size bytes; it grows as it is used.
type ring struct {
	size int
	buf  []byte
	next int // where the oldest byte is, once buf is full
}

func (r *ring) write(p []byte) {
	if len(p) >= r.size {
		r.buf, r.next = append(r.buf[:0], p[len(p)-r.size:]...), 0
		return
	}
	if room := r.size - len(r.buf); room > 0 {
		n := min(room, len(p))
		r.buf = append(r.buf, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(r.buf[r.next:], p)
		r.next = (r.next + n) % r.size
		p = p[n:]
	}
}

func (r *ring) bytes() []byte {
	return append(append([]byte(nil), r.buf[r.next:]...), r.buf[:r.next]...)
}
