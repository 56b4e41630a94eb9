package foreign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dumped is a dump of the guest's memory.
type Dumped struct {
	// File is the dump, which has no name and goes when it is closed.
	File *os.File
	// Size is the file's in bytes.
	Size int64
	// Took is how long QEMU wrote; it stops the guest meanwhile, and lets it go on
	// by itself.
	Took time.Duration
}

// fdName is how QEMU knows the dump's file.
const fdName = "unwedge-dump"

// dumpTime bounds the writing of a dump.
const dumpTime = 30 * time.Minute

// Dump has QEMU write the guest's memory, as an ELF core (QMP dump-guest-memory), to a
// file in the directory for temporary files.
func (g *Guest) Dump(ctx context.Context) (d Dumped, err error) {
	var memory struct {
		Base   uint64 `json:"base-memory"`
		Plugin uint64 `json:"plugged-memory"`
	}
	if err := g.QMP.Execute(ctx, "query-memory-size-summary", nil, &memory); err != nil {
		return d, err
	}
	if d.File, err = scratch(memory.Base + memory.Plugin); err != nil {
		return d, err
	}
	defer func() {
		if err != nil {
			d.File.Close()
		}
	}()
	if ok, err := g.wire.sendFile(ctx, g.QMP, fdName, d.File.Fd()); err != nil {
		return d, err
	} else if !ok {
		return d, errors.New("the connection cannot pass it a file")
	}
	began := time.Now()
	if err := g.dump(ctx); err != nil {
		return d, err
	}
	d.Took = time.Since(began)
	st, err := d.File.Stat()
	if err != nil {
		return d, err
	}
	d.Size = st.Size()
	return d, nil
}

// dump asks for the dump and waits for its end: it may take longer than other commands.
func (g *Guest) dump(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dumpTime)
	defer cancel()
	args := map[string]any{"paging": false, "protocol": "fd:" + fdName, "detach": true}
	if err := g.QMP.Execute(ctx, "dump-guest-memory", args, nil); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var st struct {
			Status string `json:"status"`
		}
		if err := g.QMP.Execute(ctx, "query-dump", nil, &st); err != nil {
			return err
		}
		switch st.Status {
		case "completed":
			return nil
		case "failed":
			return errors.New("dump-guest-memory failed: is the disk full?")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// scratch makes a file without a name that can hold so many bytes.
func scratch(size uint64) (*os.File, error) {
	dir := os.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil {
		if left := fs.Bavail * uint64(fs.Bsize); left < size+size/64 {
			return nil, fmt.Errorf("%s has %d MiB left, and the guest %d MiB of memory: name another directory in TMPDIR", dir, left>>20, size>>20)
		}
	}
	f, err := os.CreateTemp(dir, "unwedge-dump-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
