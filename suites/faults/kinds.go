package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A phase is a moment of a boot: the word in unwedge's progress that begins it, "" for its
// start.
type phase string

// The phases of a boot that hangs in the end.
const (
	atStart   phase = ""
	booting   phase = ": booting"
	inUser    phase = ": init at"
	capturing phase = ": capturing"
	proven    phase = ": proven"
)

var phases = []phase{atStart, booting, inUser, capturing, proven}

// kind is one way to break something.
type kind struct {
	name string
	// begin prepares a trial's directories, strike is called when the phase has come, with
	// the running boot. Either may be nil.
	begin  func(t *trial) error
	strike func(ctx context.Context, t *trial, b *boot) error
	// phases are when it may strike; none: it does not.
	phases []phase
	// root says that only root can make it.
	root bool
	// append is added to the kernel's command line; "" boots a guest that hangs in a file
	// lock. Where that ends with the exit code of a hang, its diagnosis must be shown.
	append string
	// exits are the exit codes that are right, -1 for the death by a signal; none: any but
	// those of wrong use.
	exits []int
}

// The exit codes of unwedge (see `unwedge --help`).
const (
	fine        = 0
	hung        = 1
	usage       = 2
	broken      = 3
	interrupted = 130
)

// kinds are all faults.
var kinds = slices.Concat(processKinds(), qemuKinds(), diskKinds(), cacheKinds(), guestKinds())

// processKinds are those of the program itself.
func processKinds() []kind {
	var out []kind
	for _, s := range []struct {
		name  string
		sig   []syscall.Signal
		exits []int
	}{
		{"SIGKILL", []syscall.Signal{syscall.SIGKILL}, []int{-1}},
		{"SIGTERM", []syscall.Signal{syscall.SIGTERM}, []int{interrupted, hung}},
		{"SIGINT", []syscall.Signal{syscall.SIGINT}, []int{interrupted, hung}},
		{"SIGINT twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, []int{interrupted, hung, -1}},
		{"SIGHUP", []syscall.Signal{syscall.SIGHUP}, []int{interrupted, hung, -1}},
		{"SIGSTOP, SIGCONT", []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}, []int{hung}},
	} {
		out = append(out, kind{name: "unwedge: " + s.name, phases: phases, exits: s.exits, strike: func(ctx context.Context, _ *trial, b *boot) error {
			for i, sig := range s.sig {
				if i > 0 && !pause(ctx, time.Second) {
					return context.Cause(ctx)
				}
				if err := b.signal(sig); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	return append(out, kind{name: "unwedge: its terminal goes away", phases: phases, strike: func(_ context.Context, _ *trial, b *boot) error { return b.hangUp() }})
}

// qemuKinds are those of QEMU.
func qemuKinds() []kind {
	running := []phase{booting, inUser, capturing, proven}
	send := func(sigs ...syscall.Signal) func(context.Context, *trial, *boot) error {
		return func(ctx context.Context, _ *trial, b *boot) error {
			for i, sig := range sigs {
				if i > 0 && !pause(ctx, 3*time.Second) {
					return context.Cause(ctx)
				}
				if err := b.signalQEMU(sig); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []kind{
		{name: "QEMU: SIGKILL", phases: running, exits: []int{broken, hung}, strike: send(syscall.SIGKILL)},
		{name: "QEMU: SIGABRT", phases: running, exits: []int{broken, hung}, strike: send(syscall.SIGABRT)},
		{name: "QEMU: SIGTERM", phases: running, exits: []int{broken, hung}, strike: send(syscall.SIGTERM)},
		{name: "QEMU: stopped for good", phases: running, exits: []int{broken, hung}, strike: send(syscall.SIGSTOP)},
		{name: "QEMU: stopped for 3 s", phases: running, exits: []int{hung}, strike: send(syscall.SIGSTOP, syscall.SIGCONT)},
	}
}

// diskKinds are those of the disk that runs are written to.
func diskKinds() []kind {
	full := func(dir func(t *trial) string, most int) func(t *trial) error {
		return func(t *trial) error {
			return t.small(dir(t), rand.New(rand.NewPCG(t.seed, 3)).IntN(most)) // KiB
		}
	}
	return []kind{
		{name: "disk: no room for the run", root: true, exits: []int{hung, broken}, begin: full(func(t *trial) string { return t.path("run") }, 300)},
		{name: "disk: no room for the state", root: true, exits: []int{hung, broken}, begin: full(func(t *trial) string { return t.path("state") }, 300)},
		{name: "disk: no room for temporary files", root: true, exits: []int{hung, broken}, begin: full(func(t *trial) string { return t.path("tmp") }, 64)},
		{name: "disk: no room for the cache", root: true, exits: []int{hung, broken}, begin: full(func(t *trial) string { return t.path("cold") }, 60000)},
		{name: "disk: the run's directory goes away", phases: phases[1:], exits: []int{hung, broken}, strike: func(_ context.Context, t *trial, _ *boot) error {
			return os.RemoveAll(t.path("run"))
		}},
	}
}

// cacheKinds are those of the cache.
func cacheKinds() []kind {
	spoil := func(change func(t *trial, file string) error) func(t *trial) error {
		return func(t *trial) error {
			files, err := t.cached()
			if err != nil {
				return err
			}
			return change(t, files[t.rand.IntN(len(files))])
		}
	}
	return []kind{
		{name: "cache: a torn file", exits: []int{hung, broken}, begin: spoil(func(t *trial, f string) error { return t.tear(f) })},
		{name: "cache: a flipped bit", exits: []int{hung, broken, fine, usage}, begin: spoil(func(t *trial, f string) error { return t.flip(f) })},
		{name: "cache: an empty directory in an entry's place", exits: []int{hung, broken}, begin: spoil(func(_ *trial, f string) error {
			dir := filepath.Dir(f)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.Mkdir(dir, 0o755)
		})},
		{name: "cache: an entry goes away", phases: phases, exits: []int{hung, broken}, strike: func(_ context.Context, t *trial, _ *boot) error {
			files, err := t.cached()
			if err != nil {
				return err
			}
			return os.RemoveAll(filepath.Dir(files[t.rand.IntN(len(files))]))
		}},
		{name: "cache: another unwedge fills it at the same time", exits: []int{hung}, begin: func(t *trial) error {
			t.beside = 1
			return os.RemoveAll(t.path("cache", "tiny"))
		}},
		{name: "cache: four more unwedge at the same time", exits: []int{hung}, begin: func(t *trial) error {
			t.beside = 4
			return os.RemoveAll(t.path("cache", "tiny"))
		}},
	}
}

// guestKinds are guests that mean harm.
func guestKinds() []kind {
	return []kind{
		{name: "guest: a console flood of 4 MB", append: "unwedge.fault=flood:4", exits: []int{fine, hung}},
		{name: "guest: terminal escapes", append: "unwedge.fault=escape,child:flock", exits: []int{hung}},
		{name: "guest: a fork bomb", append: "unwedge.fault=forkbomb", exits: []int{hung}},
		{name: "guest: it eats its memory", append: "unwedge.fault=oom", exits: []int{hung}},
		{name: "guest: it resets itself", append: "unwedge.fault=reboot", exits: []int{hung}},
		{name: "guest: it powers off", append: "unwedge.fault=poweroff", exits: []int{hung}},
		{name: "guest: it says that it has crashed", append: "unwedge.fault=child:flock -- x=\"Kernel_panic_-_not_syncing:_no\"", exits: []int{hung}},
	}
}

// pause waits, and says whether it could.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
