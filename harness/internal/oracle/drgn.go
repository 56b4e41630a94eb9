// Package oracle compares what package guestmem reads of a guest's memory with
// what drgn reads of the same dump with the kernel's debug information: a reader
// that this project did not write. RESULTS.md has the figures. It takes drgn, the
// debug package of the kernel (280 MB), QEMU and the network, so it runs
// only on request:
//
//	UNWEDGE_DRGN=python3 go test -run Drgn -v -timeout 30m ./harness/internal/oracle
package oracle

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // for tasks.py
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Env names the environment variable with the Python that has drgn.
const Env = "UNWEDGE_DRGN"

// ErrNoDrgn says that drgn was not asked for, or is missing.
var ErrNoDrgn = errors.New("no drgn: set " + Env + " to a Python that has it, such as python3 with Debian 13's python3-drgn or PyPI's drgn")

// oldest is the oldest drgn that is of use. 0.0.22 takes the vCPU numbers in QEMU's
// notes for PIDs and unwinds PID 1 from the registers of the first vCPU.
var oldest = []int{0, 0, 31}

// Drgn is a Python with drgn.
type Drgn struct {
	// Python is the program, Version drgn's.
	Python, Version string
}

// Find returns the drgn that the environment names. Its absence is ErrNoDrgn.
func Find(ctx context.Context) (*Drgn, error) {
	python := os.Getenv(Env)
	if python == "" {
		return nil, ErrNoDrgn
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", "import drgn; print(drgn.__version__)").Output()
	if err != nil {
		return nil, fmt.Errorf("%w (%s: %w)", ErrNoDrgn, python, err)
	}
	d := &Drgn{Python: python, Version: strings.TrimSpace(string(out))}
	if slices.Compare(numbers(d.Version), oldest) < 0 {
		return nil, fmt.Errorf("%w (%s has drgn %s, and 0.0.31 or later is needed)", ErrNoDrgn, python, d.Version)
	}
	return d, nil
}

// numbers are the leading numbers of a version.
func numbers(version string) (out []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}

// Answer is what drgn read.
type Answer struct {
	// LoadSeconds is how long opening the dump and the debug information took,
	// TasksSeconds the list of tasks with their stacks. Python's start is in
	// neither.
	LoadSeconds  float64 `json:"load_seconds"`
	TasksSeconds float64 `json:"tasks_seconds"`
	// Said is what drgn missed.
	Said  []string `json:"said"`
	Tasks []Task   `json:"tasks"`
}

// Took is how long guestmem took for what drgn's Answer says: Load for symbols and
// types, Tasks for the tasks with their stacks.
type Took struct{ Load, Tasks time.Duration }

// Against says both times, and how many times as long drgn took.
func (t Took) Against(a *Answer) string {
	side := func(what string, ours time.Duration, theirs float64) string {
		return fmt.Sprintf("%s: guestmem %.1f ms, drgn %.1f ms (× %.0f)", what, 1000*ours.Seconds(), 1000*theirs, theirs/ours.Seconds())
	}
	return side("symbols and types", t.Load, a.LoadSeconds) + "; " + side(fmt.Sprintf("%d tasks with stacks", len(a.Tasks)), t.Tasks, a.TasksSeconds)
}

// Task is one thread as drgn reads it.
type Task struct {
	PID    int     `json:"pid"`
	TGID   int     `json:"tgid"`
	PPID   int     `json:"ppid"` // of the real parent
	Comm   string  `json:"comm"`
	State  string  `json:"state"`
	OnCPU  bool    `json:"on_cpu"`
	CPU    int     `json:"cpu"` // of an idle task, else -1
	Frames []Frame `json:"frames"`
	Error  string  `json:"error"` // why there are no frames
}

// Frame is one frame, innermost first; those of user space, below the kernel's, are
// among them. Func is "" where drgn names none.
type Frame struct {
	PC     uint64 `json:"pc"`
	Func   string `json:"func"`
	Offset uint64 `json:"offset"`
}

//go:embed tasks.py
var script string

// Read has drgn read a dump. debug are the files with debug information.
func (d *Drgn) Read(ctx context.Context, core string, debug ...string) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.Python, append([]string{"-c", script, core}, debug...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return nil, fmt.Errorf("drgn: %s", cmp.Or(lines[len(lines)-1], err.Error()))
	}
	var a Answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return nil, fmt.Errorf("read drgn's answer: %w", err)
	}
	return &a, nil
}
