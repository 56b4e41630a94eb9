package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// maxLog bounds the console log that is read for the diagnosis; console.log is
// capped below it unless the user says otherwise.
const maxLog = 256 << 20

// diagnose explains the boot from what was captured.
func (s *session) diagnose() error {
	in, err := s.facts(maxLog)
	if err != nil {
		return err
	}
	d := diagnose.Diagnose(in)
	s.res.Diagnosis = &d
	return nil
}

// facts are what is known of the boot, the console up to an offset.
func (s *session) facts(end int64) (diagnose.Input, error) {
	log, err := readLog(filepath.Join(s.req.Dir, rundir.Console))
	if err != nil {
		return diagnose.Input{}, err
	}
	log = log[:min(int64(len(log)), end)]
	res := s.res
	if res.Outcome != scenarios.Hung && res.Outcome != "" {
		blankDumps(log, res.Stalls)
	}
	in := diagnose.Input{Agent: res.Reports, Ending: ending(res.Outcome), Scenario: scenarioFacts(s.req)}
	if n := len(res.Stalls); n > 0 {
		last := res.Stalls[n-1]
		if v := s.view; v != nil && !last.WentOn && stillRuns(res.Outcome) {
			in.Memory, in.MemoryPartial, in.Owners, in.User = v.Tasks, !v.Complete, v.Owners, userFacts(s.users)
			in.Waits = v.Waits
			if s.before != nil {
				in.MemoryBefore = s.before.Tasks
			}
			if len(v.Log) > 0 && !bytes.Contains(log, []byte(kernelsFirst)) {
				log = append(log, v.Log...)
				s.noteOnce("the console shows no kernel: its log was read from memory")
			}
		}
		in.VCPUs, in.Repeated = vcpuFacts(last), last.Repeated
		for _, a := range last.Attempts {
			if in.Asked == 0 || a.From < in.Asked {
				in.Asked = a.From
			}
			in.Attempts = append(in.Attempts, diagnose.Attempt{
				Key: a.Key, Route: string(a.Route), Yielded: a.Yield == result.Captured || a.Yield == result.Torn, Detail: a.Note,
			})
		}
	}
	in.Dump = dump.Parse(log)
	return in, nil
}

// stillRuns says that what the guest's memory showed is how it is: a guest that
// has ended went on after it was looked at. "" is a boot that is being judged.
func stillRuns(o scenarios.Outcome) bool {
	return o == "" || o == scenarios.Hung || o == scenarios.Slow
}

// kernelsFirst is in the kernel's first line (init/version-timestamp.c,
// linux_banner).
const kernelsFirst = "Linux version "

// blankDumps overwrites what stalls that were none made the guest print: the
// tasks it shows have long gone on. Offsets stay as they are.
func blankDumps(log []byte, stalls []result.Stall) {
	for _, st := range stalls {
		if !st.WentOn {
			continue
		}
		for _, a := range st.Attempts {
			for i := a.From; i < min(a.To, int64(len(log))); i++ {
				if log[i] != '\n' {
					log[i] = ' '
				}
			}
		}
	}
}

func readLog(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read console log: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLog))
	if err != nil {
		return nil, fmt.Errorf("read console log: %w", err)
	}
	return b, nil
}

func ending(o scenarios.Outcome) diagnose.Ending {
	switch o {
	case scenarios.Hung:
		return diagnose.EndingSilent
	case scenarios.Panicked:
		return diagnose.EndingPanicked
	case scenarios.Rebooting:
		return diagnose.EndingReset
	case scenarios.Stopped:
		return diagnose.EndingShutdown
	case scenarios.Slow:
		return diagnose.EndingDeadline
	default:
		return ""
	}
}

func scenarioFacts(req Request) *diagnose.Scenario {
	sc := req.Machine.Scenario
	return &diagnose.Scenario{
		Entropy: string(sc.Entropy), HasVirtioRNG: sc.Entropy.Device(),
		Initramfs: string(sc.Initramfs), FIPS: sc.Initramfs.FIPS(), Root: string(sc.Root),
		Cmdline: req.Machine.Cmdline(), Console: sc.Arch.Facts().Console,
	}
}

// vcpuFacts folds the register samples of a stall into one fact per vCPU: where
// it was seen most often, because any one sample may lie in an interrupt.
func vcpuFacts(st result.Stall) []diagnose.VCPU {
	var out []diagnose.VCPU
	at := map[int]int{}
	type place struct {
		cpu  int
		name string
	}
	seen, most := map[place]int{}, map[int]int{}
	idle, all := map[int]int{}, map[int]int{}
	for _, r := range st.Registers {
		i, ok := at[r.CPU]
		if !ok {
			i = len(out)
			at[r.CPU] = i
			out = append(out, diagnose.VCPU{Idle: st.Idle})
			if !st.Idle {
				out[i].BusyFraction = 1
			}
		}
		all[r.CPU]++
		if vcpu.Idles(r) {
			idle[r.CPU]++
		}
		p := place{r.CPU, vcpu.Place(r)}
		seen[p]++
		if seen[p] >= most[r.CPU] {
			most[r.CPU] = seen[p]
			out[i].PC, out[i].Symbol, out[i].User = r.PC, r.Symbol, r.User
		}
	}
	for cpu, i := range at {
		if idle[cpu] == all[cpu] { // of a busy guest, not this one
			out[i].Idle, out[i].BusyFraction = true, 0
		}
	}
	return out
}

// atCapture diagnoses from what was there when the capture ended.
func (s *session) atCapture() result.Diagnosis {
	in, err := s.facts(s.capture.to)
	if err != nil {
		s.note("%v", err)
		return result.Diagnosis{}
	}
	in.Ending = diagnose.EndingSilent
	return diagnose.Diagnose(in)
}

// undisturbed is the cause of the stall before it was looked at: the keys of
// sysrq feed the entropy pool, and what memory shows after them may be cured.
func (s *session) undisturbed(d result.Diagnosis) result.Cause {
	if s.before == nil {
		return d.Cause
	}
	in, err := s.facts(s.capture.from)
	if err != nil {
		return d.Cause
	}
	in.Ending, in.Memory, in.MemoryPartial, in.Owners = diagnose.EndingSilent, s.before.Tasks, !s.before.Complete, s.before.Owners
	in.Waits = s.before.Waits
	if first := diagnose.Diagnose(in); first.Cause == result.CauseEntropy {
		return first.Cause
	}
	return d.Cause
}

// hopeless says that a diagnosis names a cause that no timer will mend.
func hopeless(d result.Diagnosis) bool {
	return d.Confidence == result.Certain && d.Cause != result.CauseUserService
}

// cured says that the boot went on, but only because it was looked at: a key
// press feeds the entropy pool (drivers/char/random.c, add_input_randomness),
// so a boot that starved for entropy may go on after a sysrq by keyboard.
func (s *session) cured() bool {
	byKeyboard := false
	for _, a := range s.capture.stall.Attempts {
		byKeyboard = byKeyboard || a.Route == result.Keyboard && a.Yield != result.Refused
	}
	if !byKeyboard || s.capture.cause != result.CauseEntropy {
		return false
	}
	if s.before != nil { // what memory showed after the keys is no longer the hang
		s.view, s.before = s.before, nil
	}
	const looking = "the boot went on after sysrq by keyboard: key presses feed the entropy pool, so looking cured it"
	s.noteOnce(looking)
	return true
}

// writeFiles writes the Result and what is drawn from it.
func (s *session) writeFiles() error {
	res := s.res
	if len(res.Reports) > 0 {
		var b bytes.Buffer
		for _, r := range res.Reports {
			line, err := json.Marshal(r)
			if err != nil {
				return fmt.Errorf("write %s: %w", rundir.Agent, err)
			}
			b.Write(append(line, '\n'))
		}
		if err := os.WriteFile(filepath.Join(res.Dir, rundir.Agent), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", rundir.Agent, err)
		}
	}
	res.Files = rundir.Present(res.Dir)
	res.Files["result"] = rundir.Result
	return res.Write(rundir.Result)
}
