package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// Entered is a function that a healthy boot ran, at the place in the list where
// it was entered for the first time.
type Entered struct {
	Name string `json:"name"`
	Addr uint64 `json:"addr"`
}

// maxTrace bounds QEMU's log of one boot, in bytes.
const maxTrace = 4 << 30

// traceBoot boots a healthy guest and returns the kernel functions it entered,
// in the order of their first entry. QEMU's translator knows: `-d in_asm` logs
// each block of code when it is translated, which is when the guest is about to
// run it for the first time (QEMU, docs/devel/tcg.rst), and a function that is
// called begins a block.
func traceBoot(ctx context.Context, req harness.Request, table *kallsyms.Table) ([]Entered, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	log, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("trace boot: %w", err)
	}
	defer log.Close()
	args := append([]string{"-d", "in_asm", "-D", "/proc/self/fd/3"}, req.Machine.Args()...)
	cmd := exec.CommandContext(ctx, req.Machine.QEMU, args...)
	cmd.ExtraFiles = []*os.File{theirs}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		theirs.Close()
		return nil, fmt.Errorf("trace boot: %w", err)
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("trace boot: %w", err)
	}
	type found struct {
		list []Entered
		err  error
	}
	traced := make(chan found, 1)
	go func() {
		list, err := readTrace(io.LimitReader(log, maxTrace), table)
		traced <- found{list, err}
	}()
	up := untilStage(out, req.Machine.Scenario.BootedStage())
	cancel()
	if werr := cmd.Wait(); !up {
		return nil, fmt.Errorf("trace boot: the guest did not come up: %w: %s", errors.Join(werr, context.Cause(ctx)), stderr.String())
	}
	got := <-traced
	return got.list, got.err
}

// untilStage reads the console until the agent reports the stage.
func untilStage(console io.Reader, stage agentproto.Stage) bool {
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		if i := bytes.Index(lines.Bytes(), []byte(agentproto.Prefix)); i >= 0 {
			if r, err := agentproto.Parse(lines.Bytes()[i:]); err == nil && r.Stage == stage {
				return true
			}
		}
	}
	return false
}

// readTrace reads QEMU's in_asm log: "IN: ", and under it the block's
// instructions, each with its address.
func readTrace(r io.Reader, table *kallsyms.Table) ([]Entered, error) {
	names := map[uint64]string{}
	for s := range table.All() {
		if s.IsText() && names[s.Addr] == "" {
			names[s.Addr] = s.Name
		}
	}
	var out []Entered
	first := false
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case bytes.HasPrefix(line, []byte("IN:")):
			first = true
		case first && bytes.HasPrefix(line, []byte("0x")):
			first = false
			text, _, _ := strings.Cut(string(line[2:min(len(line), 20)]), ":")
			addr, perr := strconv.ParseUint(text, 16, 64)
			if perr != nil {
				continue // the last line, torn by the end of QEMU
			}
			if name := names[addr]; name != "" {
				out = append(out, Entered{name, addr})
				names[addr] = ""
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("read trace: %w", err)
		}
	}
}
