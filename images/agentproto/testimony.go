package agentproto

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// A testimony is what the guest's kernel reports about its tasks in /proc, and its
// symbols: a tar archive of those files, gzipped, in base64, between two lines of
// the console.
const (
	TestimonyBegin = "unwedge-testimony-begin"
	TestimonyEnd   = "unwedge-testimony-end"
)

// TestimonyFiles are the files of each /proc/PID/task/TID, see proc(5), in the order
// they are read in: status counts context switches, so it shows later whether the task
// ran after the others were read. With them come /proc/kallsyms and /proc/self, which
// holds nothing but the PID of the process that reports it.
var TestimonyFiles = []string{"status", "stat", "wchan", "stack"}

// ErrNoTestimony says that a console shows none, or not the whole of it.
var ErrNoTestimony = errors.New("no whole testimony of the guest on the console")

const (
	maxTestimony      = 64 << 20 // bytes unpacked; the symbols are some 10 MB
	maxTestimonyFiles = 100_000
)

// ReadTestimony returns the files of the last testimony on a console, by their
// path without the leading slash. A console that lost or mixed up any of it gives
// an error.
func ReadTestimony(console []byte) (map[string][]byte, error) {
	i := bytes.LastIndex(console, []byte(TestimonyBegin))
	if i < 0 {
		return nil, ErrNoTestimony
	}
	text := console[i+len(TestimonyBegin):]
	end := bytes.Index(text, []byte(TestimonyEnd))
	if end < 0 {
		return nil, fmt.Errorf("%w: it has no end", ErrNoTestimony)
	}
	// The decoder passes over \r and \n.
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(withoutKernel(text[:end]))))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTestimony, err)
	}
	plain := io.LimitReader(zip, maxTestimony)
	files, err := untar(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTestimony, err)
	}
	// To the end, where the checksum is.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTestimony, err)
	}
	return files, nil
}

// withoutKernel leaves out what the kernel printed in between: from its stamp, which
// begins with a character that base64 does not have, to the end of its line.
func withoutKernel(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(text, '[')
		if i < 0 {
			return append(out, text...)
		}
		out, text = append(out, text[:i]...), text[i:]
		n := bytes.IndexByte(text, '\n')
		if n < 0 {
			return out
		}
		text = text[n+1:]
	}
}

func untar(r io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if len(files) == maxTestimonyFiles {
			return nil, fmt.Errorf("more than %d files", maxTestimonyFiles)
		}
		if files[h.Name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}
