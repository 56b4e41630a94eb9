package dump

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type rec struct {
	Text   string
	Level  int
	Time   float64
	Has    bool
	Wall   bool
	Caller string
	Source Source
}

func recs(log string) []rec {
	var out []rec
	for r := range Records([]byte(log)) {
		out = append(out, rec{string(r.Text), r.Level, r.Time, r.HasTime, r.Wall, r.Caller.String(), r.Source})
	}
	return out
}

func TestRecordPrefixes(t *testing.T) {
	k := SourceKernel
	for _, tc := range []struct {
		name, in string
		want     []rec
	}{
		{"plain", "[    1.234567] foo\n", []rec{{"foo", -1, 1.234567, true, false, "", k}}},
		{"zero before timekeeping", "[    0.000000] foo\n", []rec{{"foo", -1, 0, true, false, "", k}}},
		{"level", "<6>[    1.250000] foo\n", []rec{{"foo", 6, 1.25, true, false, "", k}}},
		{"level with facility", "<30>[    1.250000] foo\n", []rec{{"foo", 6, 1.25, true, false, "", k}}},
		{"level only", "<4>foo\n", []rec{{"foo", 4, 0, false, false, "", k}}},
		{"caller task", "[    1.250000][    T1] foo\n", []rec{{"foo", -1, 1.25, true, false, "T1", k}}},
		{"caller cpu", "[    1.250000][   C12] foo\n", []rec{{"foo", -1, 1.25, true, false, "C12", k}}},
		{"caller with more", "[    1.250000][  T12(C3)] foo\n", []rec{{"foo", -1, 1.25, true, false, "T12", k}}},
		{"level and caller", "<6>[    1.250000][  T140] foo\n", []rec{{"foo", 6, 1.25, true, false, "T140", k}}},
		{"preempt rt", "[    1.250000] 003: foo\n", []rec{{"foo", -1, 1.25, true, false, "C3", k}}},
		{"syslog", "Jun  3 19:59:56 host kernel: [    1.250000] foo\n", []rec{{"foo", -1, 1.25, true, false, "", k}}},
		{"syslog of user space", "Jun  3 19:59:56 host systemd[1]: Started.\n", []rec{{"systemd[1]: Started.", -1, -62153611204 + 0, true, true, "", SourceUserspace}}},
		{"dmesg -T", "[Mon Jun  3 19:59:56 2024] foo\n", []rec{{"foo", -1, 1717444796, true, true, "", k}}},
		{"dmesg -x", "kern  :alert : [    1.250000] foo\n", []rec{{"foo", 1, 1.25, true, false, "", k}}},
		{"dmesg -x of user space", "daemon:info  : [    1.250000] systemd[1]: foo\n", []rec{{"systemd[1]: foo", 6, 1.25, true, false, "", SourceUserspace}}},
		{"kmsg", "4,4955,12879198184,-;foo\n", []rec{{"foo", 4, 12879.198184, true, false, "", k}}},
		{"kmsg with caller", "6,1,1250000,-,caller=T7;foo\n", []rec{{"foo", 6, 1.25, true, false, "T7", k}}},
		{"kmsg of user space", "30,1,1250000,-;systemd[1]: foo\n", []rec{{"systemd[1]: foo", 6, 1.25, true, false, "", SourceUserspace}}},
		{"short-monotonic", "[    1.250000] host kernel: foo\n", []rec{{"foo", -1, 1.25, true, false, "", k}}},
		{"short-monotonic of user space", "[    1.250000] host systemd[1]: foo\n", []rec{{"systemd[1]: foo", -1, 1.25, true, false, "", SourceUserspace}}},
		{"unpadded", "[1.250] foo\n", []rec{{"foo", -1, 1.25, true, false, "", k}}},
		{"dmesg -d", "[    1.250000 <    0.000123>] foo\n", []rec{{"foo", -1, 1.25, true, false, "", k}}},
		{"carriage returns", "[    1.250000] foo\r\n\r\n[    2.250000] bar\r\n", []rec{{"foo", -1, 1.25, true, false, "", k}, {"bar", -1, 2.25, true, false, "", k}}},
		{"no end of line", "[    1.250000] foo", []rec{{"foo", -1, 1.25, true, false, "", k}}},
		{"user space before the stamp", "[    1.000000] x\nRunning sysctl: [   24.108628] foo\n", []rec{
			{"x", -1, 1, true, false, "", k}, {"Running sysctl:", -1, 0, false, false, "", SourceUserspace}, {"foo", -1, 24.108628, true, false, "", k}}},
		{"harness before the stamp", "vm0: [   24.108628] foo\n", []rec{{"vm0:", -1, 0, false, false, "", SourceFirmware}, {"foo", -1, 24.108628, true, false, "", k}}},
		{"two writers on one line", "[    1.250000][    T1] foo [    1.250001][    T2] bar\n", []rec{
			{"foo", -1, 1.25, true, false, "T1", k}, {"bar", -1, 1.250001, true, false, "T2", k}}},
		{"level belongs to the second writer", "<6>[    1.250000] foo<4>[    1.250001] bar\n", []rec{
			{"foo", 6, 1.25, true, false, "", k}, {"bar", 4, 1.250001, true, false, "", k}}},
		{"backwards", "[    2.000000] b\n[    1.000000] a\n", []rec{{"b", -1, 2, true, false, "", k}, {"a", -1, 1, true, false, "", k}}},
		{"number in brackets is no stamp", "[    1.250000] range [1.5] and [<ffffffff81000000>]\n", []rec{{"range [1.5] and [<ffffffff81000000>]", -1, 1.25, true, false, "", k}}},
		{"status lines overwritten by cr", "[    1.000000] x\n\r\x1b[K[ ***  ] A start job\r\x1b[K[  ***] A start job 2\n", []rec{
			{"x", -1, 1, true, false, "", k},
			{"\x1b[K[ ***  ] A start job", -1, 0, false, false, "", SourceUserspace}, {"\x1b[K[  ***] A start job 2", -1, 0, false, false, "", SourceUserspace}}},
		{"systemd in the kernel log", "[    1.250000] systemd[1]: Starting\n", []rec{{"systemd[1]: Starting", -1, 1.25, true, false, "", SourceUserspace}}},
		{"a segfault is the kernel's", "[    1.250000] init[1]: segfault at 0 ip 0 sp 0\n", []rec{{"init[1]: segfault at 0 ip 0 sp 0", -1, 1.25, true, false, "", k}}},
		{"firmware first", "SeaBIOS (version 1.16)\n[    0.000000] Linux version 6.1\nhello\n", []rec{
			{"SeaBIOS (version 1.16)", -1, 0, false, false, "", SourceFirmware}, {"Linux version 6.1", -1, 0, true, false, "", k}, {"hello", -1, 0, false, false, "", SourceUserspace}}},
		{"printk.time=0", "Linux version 6.1\nsmp: Brought up 1 node\n", []rec{
			{"Linux version 6.1", -1, 0, false, false, "", k}, {"smp: Brought up 1 node", -1, 0, false, false, "", k}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := recs(tc.in)
			if tc.name == "syslog of user space" && len(got) == 1 { // the year is not in the log
				got[0].Time = tc.want[0].Time
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestRecordRanges: the ranges of the records are in order, inside the log, and
// each record's text is in its range.
func TestRecordRanges(t *testing.T) {
	log := []byte("a: [    1.000000] one[    1.000001] two\r\nthree\rfour\n\n[    2.000000] five")
	last := int64(0)
	n := 0
	for r := range Records(log) {
		n++
		if r.Offset < last || r.End > int64(len(log)) || r.End <= r.Offset {
			t.Errorf("record %d: range %d..%d after %d", n, r.Offset, r.End, last)
		}
		if !bytes.Contains(log[r.Offset:r.End], r.Text) {
			t.Errorf("record %d: %q is not in %q", n, r.Text, log[r.Offset:r.End])
		}
		last = r.Offset
	}
	if n != 6 {
		t.Errorf("%d records, want 6", n)
	}
}

func TestEndlessLineIsCut(t *testing.T) {
	log := bytes.Repeat([]byte{'x'}, 5*MaxRecord+10)
	n := 0
	for r := range Records(log) {
		n++
		if len(r.Text) > MaxRecord {
			t.Fatalf("a record of %d bytes", len(r.Text))
		}
	}
	if n != 6 {
		t.Errorf("%d records, want 6", n)
	}
}
