// Package accel finds out which accelerator a guest gets, and why.
//
// That /dev/kvm exists, opens and answers proves little: on some hosts it does, and
// the vCPU then spins in the host's kernel for ever. So KVM counts only after a test
// guest has run under it.
package accel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// QEMU's names of the accelerators.
const (
	KVM = "kvm"
	TCG = "tcg"
)

const (
	// DefaultTimeout is how long the test guest may make no progress. Under KVM
	// its whole run takes some 0.1 s, under TCG 0.2 s.
	DefaultTimeout = 5 * time.Second
	// killWait is how long a killed QEMU is waited for. A vCPU that hangs in
	// the host's kernel may take for ever; it is left to die by itself.
	killWait = 2 * time.Second
)

// ErrNoRun is returned by Prove when the test guest did not get to its end.
var ErrNoRun = errors.New("test guest did not run")

// Accel is the accelerator that a guest gets.
type Accel struct {
	// Name is KVM or TCG, as QEMU's -accel takes it.
	Name string
	// Reason is one line that says why, for people.
	Reason string
	// Proven says that a test guest ran under KVM, now or earlier.
	Proven bool
	// Remembered says that the answer is from an earlier probe.
	Remembered bool
	// Lacks are features of the CPU model that KVM cannot give on this host, as
	// -cpu names them: guests must do without.
	Lacks []string
}

// Options of a Probe. The zero value works.
type Options struct {
	// Dir is where answers are remembered, by host boot, QEMU version and
	// /dev/kvm. "" remembers nothing.
	Dir string
	// Fresh runs the test guest although there is a remembered answer.
	Fresh bool
	// Timeout is how long the test guest may make no progress. Zero means
	// DefaultTimeout.
	Timeout time.Duration
	// CPU is QEMU's name of the CPU model to prove. "" means "host", which is
	// what guests get under KVM.
	CPU string
	// Device and HostArch are for tests: "/dev/kvm", and the machine's own.
	Device   string
	HostArch arch.Arch
}

func (o Options) withDefaults() (Options, error) {
	if o.Timeout < 0 {
		return o, fmt.Errorf("accelerator probe time-out %v is negative", o.Timeout)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.CPU == "" {
		o.CPU = cpuModel(KVM)
	}
	if o.Device == "" {
		o.Device = "/dev/kvm"
	}
	if o.HostArch == "" {
		o.HostArch = arch.Host() // an unknown one is "", which equals no guest's
	}
	return o, nil
}

// Probe says which accelerator a guest of architecture a gets from the QEMU
// at qemuPath. A guest that makes no progress costs Options.Timeout, a remembered
// answer hardly any time. That KVM cannot be used is no error but an answer;
// errors are bad arguments, a QEMU that does not run at all, and the end of
// ctx.
func Probe(ctx context.Context, a arch.Arch, qemuPath string, o Options) (Accel, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Accel{}, err
	}
	if _, err := guestFor(a); err != nil {
		return Accel{}, fmt.Errorf("probe accelerator: %w", err)
	}
	if a != o.HostArch {
		return Accel{Name: TCG, Reason: fmt.Sprintf("this %s host has to emulate %s", hostName(o.HostArch), a)}, nil
	}
	if err := opens(o.Device); err != nil {
		return Accel{Name: TCG, Reason: fmt.Sprintf("KVM cannot be used: %v", err)}, nil
	}
	version, err := qemu.CachedVersion(ctx, qemuPath, o.Dir)
	if err != nil {
		return Accel{}, fmt.Errorf("probe accelerator: %w", err)
	}
	id, err := identify(a, qemuPath, version, o)
	if err != nil {
		return Accel{}, fmt.Errorf("probe accelerator: %w", err)
	}
	if !o.Fresh {
		if found, ok := recall(o.Dir, id); ok {
			return found, nil
		}
	}
	answer, err := decide(ctx, a, qemuPath, o)
	if err != nil {
		return Accel{}, err
	}
	if err := remember(o.Dir, id, answer); err != nil {
		// Not knowing next time costs a second probe and nothing else.
		answer.Reason += fmt.Sprintf(" (not remembered: %v)", err)
	}
	return answer, nil
}

// decide runs the test guest under KVM. Where QEMU says that it cannot set up a
// feature of the CPU model, the model is tried without it.
func decide(ctx context.Context, a arch.Arch, qemuPath string, o Options) (Accel, error) {
	var lacks []string
	for {
		err := Prove(ctx, a, qemuPath, KVM, Without(o.CPU, lacks), o.Timeout)
		if err == nil {
			return Accel{Name: KVM, Reason: ran(lacks), Proven: true, Lacks: lacks}, nil
		}
		if !errors.Is(err, ErrNoRun) {
			return Accel{}, fmt.Errorf("probe accelerator: %w", err)
		}
		feature := refused(a, err)
		if feature == "" || slices.Contains(lacks, feature) {
			return Accel{Name: TCG, Reason: err.Error()}, nil
		}
		lacks = append(lacks, feature)
	}
}

func ran(lacks []string) string {
	if len(lacks) == 0 {
		return "a test guest ran under KVM"
	}
	return "a test guest ran under KVM, without " + strings.Join(lacks, ", ") + ", which this host's KVM cannot give"
}

// Without is a CPU model of QEMU without some of its features.
func Without(model string, features []string) string {
	for _, f := range features {
		model += "," + f + "=off"
	}
	return model
}

// failedMSR is what QEMU prints before it aborts because KVM refuses a register
// (target/i386/kvm/kvm.c, kvm_buf_set_msrs).
var failedMSR = regexp.MustCompile(`error: failed to set MSR 0x([0-9a-f]+) to `)

// refused is the feature that QEMU could not set up, "" if it does not say.
func refused(a arch.Arch, err error) string {
	var exit *qemu.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	for _, line := range exit.Exit.Stderr {
		if m := failedMSR.FindStringSubmatch(line); m != nil {
			msr, err := strconv.ParseUint(m[1], 16, 32)
			if err != nil {
				return ""
			}
			return a.Facts().CPU.MSRs[uint32(msr)]
		}
	}
	return ""
}

// Prove runs a test guest of architecture a to its end under the accelerator
// called name, on the CPU model cpu ("" for the one guests get), and returns
// nil when it did all it should. ErrNoRun is wrapped when it made no progress for
// limit (zero: DefaultTimeout), or when QEMU did not start it; nothing is left
// running then, but for a QEMU that even SIGKILL does not end, which the error
// names.
func Prove(ctx context.Context, a arch.Arch, qemuPath, name, cpu string, limit time.Duration) (err error) {
	g, err := guestFor(a)
	if err != nil {
		return err
	}
	if limit <= 0 {
		limit = DefaultTimeout
	}
	if cpu == "" {
		cpu = cpuModel(name)
	}
	dir, err := os.MkdirTemp("", "unwedge-accel-")
	if err != nil {
		return fmt.Errorf("make directory for test guest: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd, err := g.command(qemuPath, name, cpu, dir)
	if err != nil {
		return err
	}
	seat, err := newSeat(dir, &cmd)
	if err != nil {
		return err
	}
	watched, cancel := context.WithCancel(ctx)
	go seat.connect(watched)
	defer func() {
		cancel()
		err = errors.Join(err, seat.close())
	}()
	p, err := qemu.Start(ctx, cmd)
	if err != nil {
		return err
	}
	look := func(ctx context.Context) string { return seat.look(ctx, p.Pid()) }
	if err := await(ctx, p.Done(), look, limit); err != nil {
		return abandon(ctx, p, name, limit)
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	serial, err := readSerial(dir)
	if err != nil {
		return err
	}
	if err := g.ran(exit, serial); err != nil {
		return fmt.Errorf("%w under %s: %w", ErrNoRun, label(name), err)
	}
	return nil
}

// abandon kills a QEMU whose guest did not come to its end in time.
func abandon(ctx context.Context, p *qemu.Process, name string, limit time.Duration) error {
	_ = p.Kill() // ErrEnded: just now, by itself
	left := ""
	select {
	case <-p.Done():
	case <-time.After(killWait):
		left = fmt.Sprintf(", and QEMU (pid %d) survives SIGKILL", p.Pid())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run test guest: %w%s", context.Cause(ctx), left)
	}
	return &noRun{fmt.Sprintf("a test guest under %s made no progress for %v%s", label(name), limit, left)}
}

// noRun is ErrNoRun in words of its own.
type noRun struct{ text string }

func (e *noRun) Error() string { return e.text }
func (e *noRun) Unwrap() error { return ErrNoRun }

// opens says why the device cannot be used, if it cannot.
func opens(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func readSerial(dir string) (string, error) {
	f, err := os.Open(serialFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // QEMU ended before it had made one
	}
	if err != nil {
		return "", fmt.Errorf("read test guest's answer: %w", err)
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return string(b), err
}

func label(name string) string {
	if name == KVM {
		return "KVM"
	}
	return name
}

func hostName(a arch.Arch) string {
	if a == "" {
		return runtime.GOARCH
	}
	return string(a)
}
