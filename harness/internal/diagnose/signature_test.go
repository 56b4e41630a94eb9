package diagnose

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/result"
)

// TestOneSignatureForAllKernels: the logs of one kind that several kernels
// printed, of two archs, have one signature and, but for traps, one title.
func TestOneSignatureForAllKernels(t *testing.T) {
	paths, err := filepath.Glob("../dump/testdata/real/*.log")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[\d.]+-(?:amd64|arm64)-(.+)\.log$`)
	type seen struct{ log, title, signature string }
	first := map[string]seen{}
	compared := 0
	for _, p := range paths {
		m := name.FindStringSubmatch(filepath.Base(p))
		if m == nil {
			t.Fatalf("%s is not named VERSION-ARCH-KIND.log", p)
		}
		// The segv of 6.12 amd64 ends in another exit code than the others';
		// the log of 6.1 amd64's reboot ends before the second boot; with the
		// same fault 5.10 crashes elsewhere; a WARN's boots go on differently.
		if m[1] == "segv" || m[1] == "reboot" || m[1] == "warn" || m[1] == "warn-null" || m[1] == "null" {
			continue
		}
		d := Explain(read(t, p))
		// pipe_read became anon_pipe_read in 6.14: a kernel's renaming shows.
		d.Title, d.Signature = strings.Replace(d.Title, "anon_pipe", "pipe", 1), strings.Replace(d.Signature, "anon_pipe", "pipe", 1)
		// x86's undefined instruction is arm64's BRK.
		d.Title = strings.Replace(d.Title, "Internal error in", "invalid opcode in", 1)
		// Where only RCU's kthread lacks the CPU, the title says so.
		d.Title = strings.Replace(d.Title, "INFO: rcu_sched kthread starved: init ran in", "INFO: rcu detected stall in", 1)
		if m[1] == "rootwait" || m[1] == "noroot" { // captured with two names of a disk
			d.Title, d.Signature = strings.Replace(d.Title, "vda1", "vda", 1), strings.Replace(d.Signature, "vda1", "vda", 1)
		}
		f, ok := first[m[1]]
		if !ok {
			first[m[1]] = seen{filepath.Base(p), d.Title, d.Signature}
			continue
		}
		compared++
		if d.Title != f.title || d.Signature != f.signature {
			t.Errorf("%s: %q, %s\n%s: %q, %s", f.log, f.title, f.signature, filepath.Base(p), d.Title, d.Signature)
		}
	}
	if compared < 50 {
		t.Errorf("only %d logs were compared", compared)
	}
}

// TestSignatureIsSafe: it is fit for a file's name and bounded, whatever the
// title holds.
func TestSignatureIsSafe(t *testing.T) {
	safe := regexp.MustCompile(`^[\w.-]+/[\w.-]+(/[\w.-]+)?$`)
	for _, title := range []string{"", "x", "../../etc/passwd", "a\x00b", "\x1b[31mred", "\u202eesrever", strings.Repeat("long ", 100), "hang: ../x", "...", "a//b"} {
		s := signature(&result.Diagnosis{Kind: result.KindHang, Cause: result.CauseKernelWait, Title: title})
		if !safe.MatchString(s) || len(s) > maxSignature || strings.Contains(s, "..") {
			t.Errorf("%q: %q", title, s)
		}
	}
}
