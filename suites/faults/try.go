package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// outcome is what came of a trial.
type outcome struct {
	trial trial
	code  int
	lost  []string // what is not as it should be
}

func (o outcome) String() string {
	said := "ok"
	if len(o.lost) > 0 {
		said = strings.Join(o.lost, ", ")
	}
	when := strings.TrimPrefix(string(o.trial.phase), ": ")
	if when != "" {
		when = " at " + when
	}
	return fmt.Sprintf("%03d %s: %s%s: exit code %d: %s", o.trial.n, o.trial.arch, o.trial.kind.name, when, o.code, said)
}

// hang makes the guest hang where no fault of its own is asked for.
const hang = "unwedge.fault=child:flock"

// try makes one trial.
func (l *lab) try(ctx context.Context, t trial) outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, trialTime, fmt.Errorf("not done within %s", trialTime))
	defer cancel()
	out := outcome{trial: t}
	lose := func(format string, a ...any) { out.lost = append(out.lost, fmt.Sprintf(format, a...)) }
	if err := t.prepare(); err != nil {
		lose("prepare: %v", err)
		return out
	}
	if t.kind.begin != nil {
		if err := t.kind.begin(&t); err != nil {
			lose("prepare: %v", err)
			return out
		}
	}
	code, said, err := t.strike(ctx)
	out.code = code
	if err != nil {
		lose("%v", err)
	}
	if len(t.kind.exits) > 0 && !slices.Contains(t.kind.exits, code) || code == usage && !slices.Contains(t.kind.exits, usage) {
		lose("exit code %d", code)
	}
	if code == hung && t.kind.append == "" && !strings.Contains(said, "flock") {
		lose("the diagnosis was not shown")
	}
	out.lost = append(out.lost, t.left()...)
	if err := t.unmount(); err != nil {
		lose("%v", err)
	}
	if lost := t.again(ctx, t.path("cache")); lost != "" {
		lose("the next boot: %s", lost)
	}
	if len(out.lost) == 0 {
		_ = os.RemoveAll(t.dir) // what is left of it only takes room
	}
	return out
}

// strike boots, breaks something, and returns the exit code and what was printed.
func (t *trial) strike(ctx context.Context) (code int, said string, err error) {
	guest := t.kind.append
	if guest == "" {
		guest = hang
	}
	cache := t.path("cache")
	if slices.Contains(t.mounts, t.path("cold")) {
		cache = t.path("cold")
	}
	b, err := t.start(ctx, cache, "run", t.phase, "--append", guest)
	if err != nil {
		return broken, "", err
	}
	var others []*boot
	for i := range t.beside {
		other, bad := t.start(ctx, cache, fmt.Sprint("run-", i), t.phase, "--append", guest)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		others = append(others, other)
	}
	if t.kind.strike != nil {
		err = errors.Join(err, t.wait(ctx, b))
	}
	code = b.end()
	for _, other := range others {
		if got := other.end(); got != code {
			err = errors.Join(err, fmt.Errorf("another one's exit code is %d", got))
		}
	}
	said = b.stdout.String() + b.stderr.String()
	return code, said, errors.Join(err, os.WriteFile(t.path("said"), []byte(said), 0o600))
}

// wait waits for the phase, and a little, and strikes. A boot that ended before is as if
// nothing had been.
func (t *trial) wait(ctx context.Context, b *boot) error {
	ended := make(chan struct{})
	go func() { b.reads.Wait(); close(ended) }()
	select {
	case <-b.come:
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !pause(ctx, time.Duration(t.rand.IntN(400))*time.Millisecond) {
		return context.Cause(ctx)
	}
	return t.kind.strike(ctx, t, b)
}

// grace is how long what a trial started may take to end after it.
const grace = 20 * time.Second

// left lists what a trial has left behind.
func (t *trial) left() (lost []string) {
	var still []process
	for end := time.Now().Add(grace); ; time.Sleep(100 * time.Millisecond) {
		if still = alive(t.dir); len(still) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, p := range still {
		lost = append(lost, fmt.Sprintf("%s (PID %d) still runs", filepath.Base(p.name), p.pid))
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // of this trial, by its mark
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err == nil {
		for line := range strings.Lines(string(mounts)) {
			if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], t.dir+"/") && !slices.Contains(t.mounts, f[1]) {
				lost = append(lost, "mounted: "+f[1])
			}
		}
	}
	if tmp, err := os.ReadDir(t.path("tmp")); err == nil && !t.killed() {
		for _, e := range tmp {
			lost = append(lost, "temporary: "+e.Name())
		}
	}
	return append(lost, t.torn()...)
}

// killed says that the program had no chance to clean up: the next one must.
func (t *trial) killed() bool { return slices.Contains(t.kind.exits, -1) }

// torn lists the Results that cannot be read.
func (t *trial) torn() (lost []string) {
	err := filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || d == nil || d.Name() != rundir.Result {
			return nil
		}
		var r result.Result
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			lost = append(lost, fmt.Sprintf("%s: %v", strings.TrimPrefix(path, t.dir+"/"), err))
		}
		return nil
	})
	if err != nil {
		lost = append(lost, err.Error())
	}
	return lost
}

// again boots once more, without a fault and with the same cache, and says what was not as
// it should be.
func (t *trial) again(ctx context.Context, cache string) string {
	b, err := t.start(ctx, cache, "again", atStart)
	if err != nil {
		return err.Error()
	}
	code := b.end()
	said := b.stdout.String() + b.stderr.String()
	if err := os.WriteFile(t.path("said-again"), []byte(said), 0o600); err != nil {
		return err.Error()
	}
	if code != fine {
		return fmt.Sprintf("exit code %d", code)
	}
	unfinished, _ := filepath.Glob(filepath.Join(cache, "*", ".tmp-*")) // the pattern is valid
	if len(unfinished) > 0 && !t.killed() {
		return "half-written: " + strings.Join(unfinished, " ")
	}
	return ""
}
