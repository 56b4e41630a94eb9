package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// fipsCheck: dracut's 01fips module halts the boot when the kernel's HMAC is
// wrong or missing.
func fipsCheck(f facts) *result.Diagnosis {
	b := &f.log.Boot
	fips, ok := b.Event(dump.EventFIPS)
	refusing, halted := b.Event(dump.EventRefusing)
	if !ok && !(halted && f.log.has(dump.EventHMAC)) {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseFIPS, Where: result.WhereInitramfs, Confidence: result.Certain,
		Title:   "dracut's FIPS check failed",
		Summary: "dracut's FIPS check failed and halted the boot on purpose; the log does not say which part failed",
		Remedy:  "read dracut's lines before the failure (rd.debug for more): the check loads the crypto modules, runs tcrypt, and compares the kernel with its HMAC file",
	}
	fipsPart(f.log, out)
	if ok {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the check failed", fips))
	}
	if halted {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("dracut halts the boot", refusing))
	}
	return out
}

// fipsPart says which part of the check failed, if the log shows it.
func fipsPart(l log, out *result.Diagnosis) {
	b := &l.Boot
	unknown, isUnknown := b.Event(dump.EventFIPSUnknown)
	tcrypt, noTcrypt := b.Event(dump.EventTcrypt)
	if noTcrypt {
		out.Evidence = append(out.Evidence, l.eventEvidence("the self-test module did not stay loaded", tcrypt))
	}
	h, ok := b.Event(dump.EventHMAC)
	if !ok {
		h, ok = atKernelCheck(l)
	}
	if ok {
		out.Title += ": the kernel's HMAC"
		out.Evidence = append(out.Evidence, l.eventEvidence("the kernel's HMAC", h))
		out.Summary = "dracut's FIPS check rejected the kernel's HMAC and halted the boot on purpose"
		if strings.Contains(h.Text, "does not exist") || strings.Contains(h.Text, "No such file") {
			out.Summary = "dracut's FIPS check did not find the kernel's HMAC file and halted the boot on purpose"
		}
		out.Remedy = "make the HMAC file (.vmlinuz-RELEASE.hmac, the sha512hmac of exactly the kernel that is booted) match the kernel, and rebuild the initramfs; where /boot is a file system of its own, boot= must name it"
		return
	}
	switch {
	case isUnknown:
		out.Where = result.WhereKernel
		out.Title += ": the kernel does not know fips=1"
		out.Summary = "the kernel does not know fips=1 (it is built without CONFIG_CRYPTO_FIPS), so dracut's FIPS check fails and halts the boot on purpose"
		out.Remedy = "boot a kernel with CONFIG_CRYPTO_FIPS=y, or without fips=1"
		out.Evidence = append(out.Evidence, l.eventEvidence("the kernel does not know fips=1", unknown))
		if noTcrypt {
			out.Notes = append(out.Notes, "tcrypt stays loaded in FIPS mode only (crypto/tcrypt.c returns EAGAIN otherwise), and dracut takes that for a failed self-test")
		} else {
			out.Confidence = result.Likely
		}
	case noTcrypt:
		out.Title += ": tcrypt"
		out.Summary = "dracut's FIPS check could not run the kernel's crypto self-tests (tcrypt) and halted the boot on purpose"
		out.Remedy = "look for 'alg:' lines of failed self-tests; 'Resource temporarily unavailable' means that the kernel is not in FIPS mode (fips=1 missing, or no CONFIG_CRYPTO_FIPS)"
	}
}

// atKernelCheck returns dracut's last step before it gave up, if that is the
// comparison of the kernel with its HMAC. What sha512hmac says of it goes to
// the journal, not to the console.
func atKernelCheck(l log) (dump.Event, bool) {
	steps := l.Boot.All(dump.EventFIPSStep)
	if len(steps) == 0 {
		return dump.Event{}, false
	}
	last := steps[len(steps)-1]
	return last, strings.Contains(last.Text, "Checking integrity of kernel")
}
