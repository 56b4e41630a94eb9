package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/agentproto"
)

// bearWitness has some children block in different ways and then one, the
// witness, report what the kernel says about all tasks but itself. PID 1 is among
// them: it waits for the witness, which blocks too when it is done.
func bearWitness() {
	for _, how := range []string{"flock", "flock", "pipe", "futex", "sleep", "wait"} {
		startFault(how)
	}
	inChild("testify")
}

// settle is how long the witness waits for the other tasks to block.
const settle = 2 * time.Second

func testify() {
	time.Sleep(settle)
	if err := sendProc(os.Stdout, "/proc", os.Getpid()); err != nil {
		fmt.Println("\nunwedge agent:", err)
	}
	_ = unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1) // tcdrain(3): nothing of it comes late
	blockInFlock()
}

// sendProc writes the files of /proc that agentproto.TestimonyFiles lists, of every
// process but self, as text that a console carries.
func sendProc(w io.Writer, proc string, self int) error {
	out := &wrapped{w: bufio.NewWriterSize(w, 64<<10)}
	fmt.Fprintf(out.w, "\n%s\n", agentproto.TestimonyBegin)
	coder := base64.NewEncoder(base64.StdEncoding, out)
	// The console is faster than an emulated CPU packs well.
	zip, err := gzip.NewWriterLevel(coder, gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("pack /proc: %w", err)
	}
	pack := tar.NewWriter(zip)
	err = addProc(pack, proc, self)
	for _, c := range []io.Closer{pack, zip, coder} {
		err = errors.Join(err, c.Close())
	}
	fmt.Fprintf(out.w, "\n%s\n", agentproto.TestimonyEnd)
	if err = errors.Join(err, out.w.Flush()); err != nil {
		return fmt.Errorf("send /proc: %w", err)
	}
	return nil
}

func addProc(pack *tar.Writer, proc string, self int) error {
	tasks, err := filepath.Glob(filepath.Join(proc, "[0-9]*/task/[0-9]*"))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		if strings.HasPrefix(task, fmt.Sprintf("%s/%d/", proc, self)) {
			continue
		}
		for _, name := range agentproto.TestimonyFiles {
			b, err := os.ReadFile(filepath.Join(task, name))
			if err != nil {
				continue // the task has ended
			}
			if err := addFile(pack, filepath.Join(task, name), b); err != nil {
				return err
			}
		}
	}
	if err := addFile(pack, filepath.Join(proc, "self"), []byte(strconv.Itoa(self))); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(proc, "kallsyms"))
	if err != nil {
		return err
	}
	return addFile(pack, filepath.Join(proc, "kallsyms"), b)
}

func addFile(pack *tar.Writer, path string, b []byte) error {
	if err := pack.WriteHeader(&tar.Header{Name: path[1:], Mode: 0o444, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := pack.Write(b)
	return err
}

// wrapped breaks a text into lines.
type wrapped struct {
	w   *bufio.Writer
	col int
}

func (l *wrapped) Write(p []byte) (int, error) {
	const width = 1024
	for rest := p; len(rest) > 0; {
		n := min(len(rest), width-l.col)
		if _, err := l.w.Write(rest[:n]); err != nil {
			return 0, err
		}
		if rest, l.col = rest[n:], l.col+n; l.col == width {
			l.col = 0
			if err := l.w.WriteByte('\n'); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}
