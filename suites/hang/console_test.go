package hang

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("the console", Label("console", "tiny"), func() {
	EachKernel(func(k Kernel) {
		It("neither loses nor doubles a byte of a full task dump", Label("core"), func(ctx SpecContext) {
			sc := Pick(Cells("tiny", k.Arch), scenarios.None, scenarios.Tiny)
			// The ring buffer must hold all, and the console print all of it.
			sc.Cmdline = []string{"log_buf_len=8M", "ignore_loglevel", "unwedge.fault=sysrq:9,sysrq:t,sysrq:m,dmesg"}
			boot := Boot(ctx, k.Get(ctx), sc)
			Expect(boot).To(ReachUserspace())
			printed, late, kept, err := splitLog(readConsole(boot))
			Expect(err).NotTo(HaveOccurred())
			want, err := asPrinted(kept)
			Expect(err).NotTo(HaveOccurred())
			Expect(len(want)).To(BeNumerically(">", 500), "the dump is too short to prove anything")
			printed, want = slices.DeleteFunc(printed, handover), slices.DeleteFunc(want, handover)
			// What the console printed meanwhile may be in what the guest read, or not yet.
			all := slices.Concat(printed, late)
			Expect(all[:min(len(all), max(len(printed), len(want)))]).To(beTheLines(want))
		}, short)

		It("takes a flood without stalling the guest, and reports what it dropped", func(ctx SpecContext) {
			// Each line is new, or the guest would rightly be told to repeat itself. A UART
			// gives some 100 KiB a second under TCG; that memory is bounded for any length is
			// a test of harness/internal/console.
			const limit, flood = 128 << 10, 1 << 20
			boot := Boot(ctx, k.Get(ctx), Cell("tiny", k.Arch, fmt.Sprintf("unwedge.fault=list:%d", flood>>20)),
				func(r *harness.Request) { r.ConsoleCap = limit })
			Expect(boot).To(ReachUserspace())
			Expect(boot.Console.Bytes).To(BeNumerically(">=", flood))
			Expect(boot.Console.LeftOut).To(BeNumerically(">", flood-2*limit))
			log := readConsole(boot)
			Expect(len(log)).To(BeNumerically("<=", limit+4096))
			Expect(string(log)).To(ContainSubstring("Linux version"), "the beginning is kept")
			Expect(string(log)).To(ContainSubstring("unwedge: "), "it says that it was capped")
		}, short)

		It("passes on no escape sequence from the guest", func(ctx SpecContext) {
			boot := Boot(ctx, k.Get(ctx), Cell("tiny", k.Arch, "unwedge.fault=escape,pipe"))
			Expect(boot).To(HaveHung())
			Expect(bytes.Count(readConsole(boot), []byte("\x1b]0;owned\a"))).To(Equal(1), "console.log is raw")
			for _, name := range []string{rundir.Result, rundir.Agent} {
				text, err := os.ReadFile(filepath.Join(boot.Dir, name))
				Expect(err).NotTo(HaveOccurred())
				Expect(string(text)).To(beTame(), name)
			}
			Expect(HaveCause("none").FailureMessage(boot)).To(beTame())
		}, short)
	})
})

func readConsole(r *result.Result) []byte {
	GinkgoHelper()
	b, err := os.ReadFile(filepath.Join(r.Dir, rundir.Console))
	Expect(err).NotTo(HaveOccurred())
	return b
}

// splitLog cuts a console log into the lines that the kernel printed, those that it
// printed while the guest read its own /dev/kmsg, and what the guest read.
func splitLog(log []byte) (printed, late, kept []string, err error) {
	text := strings.ReplaceAll(string(log), "\r", "")
	before, rest, ok := strings.Cut(text, "unwedge-dmesg-begin\n")
	if !ok {
		return nil, nil, nil, fmt.Errorf("no /dev/kmsg text in the console log of %d bytes", len(log))
	}
	kmsg, _, ok := strings.Cut(rest, "unwedge-dmesg-end\n")
	if !ok {
		return nil, nil, nil, fmt.Errorf("the /dev/kmsg text does not end")
	}
	for _, line := range meanwhile.FindAllString(kmsg, -1) {
		late = append(late, strings.TrimSuffix(line, "\n"))
	}
	kmsg = meanwhile.ReplaceAllString(kmsg, "")
	return strings.Split(strings.Trim(before, "\n"), "\n"), late, strings.Split(strings.TrimSuffix(kmsg, "\n"), "\n"), nil
}

// meanwhile is a line that the kernel prints while the guest writes its /dev/kmsg to
// the same UART: it may stand anywhere in that text, and is not of it.
var meanwhile = regexp.MustCompile(`\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? [^\n]*\n`)

// handover tells the lines by which the early console gives way to the real
// one: the guest itself prints some of them on both, so twice on the same UART.
func handover(line string) bool {
	return strings.Contains(line, "printk: ") && strings.Contains(line, "console [")
}

// asPrinted turns /dev/kmsg records into the lines that the console prints of
// them: "LEVEL,SEQ,MICROSECONDS,FLAGS[,caller=ID];TEXT", and lines that start
// with a space are not of the text (Documentation/ABI/testing/dev-kmsg).
func asPrinted(kmsg []string) ([]string, error) {
	var out []string
	next := uint64(0)
	for _, line := range kmsg {
		if strings.HasPrefix(line, " ") {
			continue
		}
		head, text, _ := strings.Cut(line, ";")
		f := strings.Split(head, ",")
		if len(f) < 4 {
			return nil, fmt.Errorf("no /dev/kmsg record: %q", line)
		}
		seq, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil || seq != next {
			return nil, fmt.Errorf("record %q, want sequence number %d: the ring buffer was too small", line, next)
		}
		next++
		usec, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("time of record %q: %w", line, err)
		}
		prefix := fmt.Sprintf("[%5d.%06d]", usec/1e6, usec%1e6)
		if len(f) > 4 {
			prefix += fmt.Sprintf("[%6s]", strings.TrimPrefix(f[4], "caller="))
		}
		text, err = unescape(text)
		if err != nil {
			return nil, fmt.Errorf("record %q: %w", line, err)
		}
		for l := range strings.SplitSeq(text, "\n") {
			out = append(out, prefix+" "+l)
		}
	}
	return out, nil
}

// unescape undoes the \xHH of /dev/kmsg.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, `\x`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		if len(rest) < 2 {
			return "", fmt.Errorf("torn escape in %q", s)
		}
		v, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return "", err
		}
		b.WriteByte(byte(v))
		s = rest[2:]
	}
}
