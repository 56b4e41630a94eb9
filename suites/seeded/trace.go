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
	"sync/atomic"
	"time"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Entered is a function that a healthy boot ran, at the place in the list where
// it was entered for the first time.
type Entered struct {
	Name string `json:"name"`
	Addr uint64 `json:"addr"`
	// Stage is the agent's report that came last before it, "" before any.
	Stage stage.Stage `json:"stage,omitempty"`
}

// maxTrace bounds QEMU's log of one boot, in bytes.
const maxTrace = 4 << 30

// traceBoot boots a healthy guest and returns the kernel functions it entered,
// in the order of their first entry. QEMU's translator knows: `-d in_asm` logs
// each block of code when it is translated, which is when the guest is about to
// run it for the first time (QEMU, docs/devel/tcg.rst), and a function that is
// called begins a block. Only the kernel's own code is logged.
//
// The agent's reports come on the console meanwhile, and cut the list: QEMU
// writes its log line by line to a pipe, so it is never further ahead of the
// reader than the pipe is large, which is about a dozen functions.
func traceBoot(ctx context.Context, req harness.Request, table *kallsyms.Table) ([]Entered, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	log, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("trace boot: %w", err)
	}
	defer log.Close()
	args := append([]string{"-d", "in_asm", "-D", "/proc/self/fd/3"}, req.Machine.Args()...)
	if first, last, ok := textRange(table); ok {
		args = append(args, "-dfilter", fmt.Sprintf("%#x..%#x", first, last))
	}
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
	var reached atomic.Pointer[stage.Stage]
	go func() {
		list, err := readTrace(io.LimitReader(log, maxTrace), table, reached.Load)
		traced <- found{list, err}
	}()
	up := untilStage(out, req.Machine.Scenario.BootedStage(), func(s stage.Stage) { reached.Store(&s) })
	cancel()
	if werr := cmd.Wait(); !up {
		return nil, fmt.Errorf("trace boot: the guest did not come up: %w: %s", errors.Join(werr, context.Cause(ctx)), stderr.String())
	}
	got := <-traced
	return got.list, got.err
}

// textRange is where the kernel's own functions lie.
func textRange(table *kallsyms.Table) (first, last uint64, ok bool) {
	for s := range table.All() {
		if s.IsText() && s.Addr>>63 == 1 { // x86 has symbols of per-CPU offsets
			if !ok || s.Addr < first {
				first = s.Addr
			}
			last, ok = max(last, s.Addr), true
		}
	}
	return first, last, ok
}

// untilStage reads the console until the agent reports the stage, and tells
// seen of each report.
func untilStage(console io.Reader, stage stage.Stage, seen func(stage.Stage)) bool {
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		if i := bytes.Index(lines.Bytes(), []byte(agentproto.Prefix)); i >= 0 {
			if r, err := agentproto.Parse(lines.Bytes()[i:]); err == nil {
				if r.Stage == stage {
					return true
				}
				seen(r.Stage)
			}
		}
	}
	return false
}

// readTrace reads QEMU's in_asm log: "IN: ", and under it the block's
// instructions, each with its address. stage tells the last report, nil before
// any.
func readTrace(r io.Reader, table *kallsyms.Table, stage func() *stage.Stage) ([]Entered, error) {
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
				e := Entered{Name: name, Addr: addr}
				if last := stage(); last != nil {
					e.Stage = *last
				}
				out = append(out, e)
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
