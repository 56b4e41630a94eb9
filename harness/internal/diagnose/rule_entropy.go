package diagnose

import (
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// The two commits that frame the entropy hangs of 2018 and 2019.
const (
	refCRNGReady = "43838a23a05fbd13e47d750d3dfd77001536dd33 (\"random: fix crng_ready() test\", 4.17-rc2, stable 4.16.4): getrandom() began to wait for a fully seeded generator"
	refJitter    = "50ee7529ec4500c88f8664560770a7a1b65db72b (\"random: try to actively add entropy rather than passively wait for it\", 5.4): the kernel began to seed itself from timer jitter"
)

const entropyRemedy = "give the guest an entropy source: add a virtio-rng device (-device virtio-rng-pci) and put virtio_rng into the initramfs, or boot with random.trust_cpu=on / random.trust_bootloader=on"

const neverSeeded = ": the kernel's random number generator was never seeded"

// entropy: the boot waits for the random number generator to be seeded. The stack of
// the task at the end of the wait chain is the only proof: a warning about
// uninitialised reads is no hang.
func entropy(f facts) *result.Diagnosis {
	if f.end == nil || f.wait.mech != onEntropy {
		return nil
	}
	out := hang(f, result.CauseEntropy, result.WhereKernel, result.Certain)
	call := out.Syscall
	if call == "" {
		call = "the kernel"
	}
	if call == "read" || f.end.Has("random_read", "random_read_iter", "_random_read") {
		call = "read of /dev/random"
	}
	out.Title = "hang: entropy starvation: " + stableComm(f.end) + " blocked in " + out.Function + " (" + call + ")"
	verb := " sleeps in "
	if f.end.State == "R" {
		verb = " spins in "
	}
	syscall := out.Syscall + "()"
	if call == "read of /dev/random" {
		syscall = "a " + call
	} else if out.Syscall == "" {
		syscall = call
	}
	out.Summary = f.chain.who() + verb + syscall + " → " + out.Function + neverSeeded
	if !f.end.Has("wait_for_random_bytes", "try_to_generate_entropy") { // drivers/char/random.c before 5.6
		out.Summary = strings.TrimSuffix(out.Summary, neverSeeded) + ": /dev/random has too little entropy, which this kernel accounts for separately"
	}
	if f.end.State == "R" { // the kernel gathers entropy, and may finish
		out.Confidence = result.Likely
	}
	out.Remedy = entropyRemedy
	out.References = entropyReferences(f.log.Boot.Release())
	entropySources(f, out)

	// The wait is what the dump shows; what was printed after it can undo it.
	if e, ok := f.log.Boot.Event(dump.EventCRNG); ok {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the generator was seeded", e))
		if s := f.tasks.section; s != nil && e.Offset > s.Offset {
			out.Confidence = result.Likely
			out.Notes = append(out.Notes, "the generator was seeded after the dump was taken: the sysrq key (a key press feeds entropy) or time may have ended this wait")
		} else {
			out.Confidence = result.Likely
			out.Notes = append(out.Notes, "the kernel printed 'crng init done' before the dump: the stack and the log contradict each other")
		}
	}
	out.Evidence = append(out.Evidence, f.log.lastEvent("random numbers were requested before the generator was seeded", dump.EventURandom)...)
	if _, traced := f.in.User[f.end.PID]; f.fips && f.end.Comm == "systemd" && !traced {
		out.Notes = append(out.Notes, "fips=1: libgcrypt's FIPS start-up requests random numbers as soon as systemd loads it; the user-space caller itself was not captured")
	}
	return out
}

// entropySources checks what should have seeded the generator: a device without a
// driver does not.
func entropySources(f facts, out *result.Diagnosis) {
	agent := f.agent.evidence()
	n := len(f.agent)
	hwrng := ""
	if n > 0 {
		last := f.agent[n-1]
		hwrng = last.HWRNG
		if !last.CRNG || hwrng == "none" {
			out.Evidence = append(out.Evidence, agent...)
		}
		if last.CRNG {
			out.Confidence = result.Likely
			out.Notes = append(out.Notes, "the guest agent found the generator ready; the wait may be over")
		}
	}
	sc := f.in.Scenario
	if sc == nil || !sc.HasVirtioRNG {
		return
	}
	e, driver := f.log.Boot.Event(dump.EventHWRNG)
	if hwrng != "" && hwrng != "none" {
		driver = true
	}
	if driver {
		out.Notes = append(out.Notes, "the machine has a virtio-rng device and the guest has a driver for it, but the generator was not seeded: look at the device's back end on the host")
		out.Where = result.WhereUnknown
		if e.Text != "" {
			out.Evidence = append(out.Evidence, f.log.eventEvidence("the hardware random number generator's driver", e))
		}
		return
	}
	const driverRemedy = "put virtio_rng (and virtio_pci) into the initramfs, or boot with random.trust_cpu=on / random.trust_bootloader=on"
	if hwrng == "none" {
		out.Where = result.WhereInitramfs
		out.Summary += "; the machine's virtio-rng device has no driver in the guest"
		out.Remedy = "the machine has a virtio-rng device, but the guest has no driver for it: " + driverRemedy
		return
	}
	out.Remedy = "the machine has a virtio-rng device, but nothing shows that the guest has a driver for it: " + driverRemedy
	out.Notes = append(out.Notes, "virtio_rng prints nothing when it binds, so the console cannot show whether the driver is loaded")
}

// entropyReferences cites the commits that belong to a release.
func entropyReferences(release string) []string {
	major, minor, ok := version(release)
	switch {
	case !ok:
		return []string{refCRNGReady, refJitter}
	case major > 5 || major == 5 && minor >= 4:
		return []string{refJitter + "; this kernel has the commit and still starves, which is worth a report"}
	}
	return []string{refCRNGReady, refJitter + "; this kernel is older"}
}

// version reads the first two numbers of a kernel release.
func version(release string) (major, minor int, ok bool) {
	a, rest, found := strings.Cut(release, ".")
	if !found {
		return 0, 0, false
	}
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	var err1, err2 error
	major, err1 = strconv.Atoi(a)
	minor, err2 = strconv.Atoi(rest[:n])
	return major, minor, err1 == nil && err2 == nil
}
