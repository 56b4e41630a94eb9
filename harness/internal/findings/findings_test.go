package findings

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

const banner = "[    0.000000] Linux version 6.6.30 (build@example) (gcc 12.2.0) #1 SMP\n"

func of(log string) []string {
	var out []string
	for _, f := range Of(dump.Parse([]byte(log))) {
		out = append(out, fmt.Sprintf("%d %s %s %s ×%d", f.Boot, f.Severity, f.Kind, f.Title, f.Count))
	}
	return out
}

func TestRepetitionsAreCountedInEachBoot(t *testing.T) {
	warn := "[    1.000000] WARNING: CPU: 0 PID: 1 at drivers/demo.c:3 demo_init+0x1/0x2\n"
	got := of(banner + warn + warn + banner + warn)
	want := []string{"0 warning warning WARNING in demo_init ×2", "1 warning warning WARNING in demo_init ×1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOfTooManyTheWorstAreKept(t *testing.T) {
	var b strings.Builder
	b.WriteString(banner)
	for i := range 2 * maxFindings {
		fmt.Fprintf(&b, "[    1.000000] x: [Firmware Bug]: demo number %c%c\n", 'a'+i/26, 'a'+i%26)
	}
	b.WriteString("[    2.000000] Kernel panic - not syncing: demo\n")
	all := Of(dump.Parse([]byte(b.String())))
	if len(all) != maxFindings || all[len(all)-1].Severity != result.Fatal || all[0].Title != "firmware bug: demo number aa" {
		t.Errorf("%d findings, from %+v to %+v", len(all), all[0], all[len(all)-1])
	}
}

// Whatever a guest prints, findings are bounded, in order and safe to show.
func FuzzOf(f *testing.F) {
	f.Add([]byte(banner + "[    1.0] WARNING: CPU: 0 PID: 1 at a.c:3 x+0x1/0x2\n[    2.0] Kernel panic - not syncing: panic_on_warn set ...\n"))
	f.Add([]byte("irq 16: nobody cared\nhandlers:\n[<0>] \x1b[31mevil\nBUG: KASAN: x in \xff\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		d := dump.Parse(log)
		list := Of(d)
		if len(list) > maxFindings {
			t.Fatalf("%d findings", len(list))
		}
		for i, x := range list {
			if x.Severity.Rank() == 0 || x.Count < 1 || x.Boot < 0 || x.Boot >= Boots(d) || len(x.Lines) > maxLines {
				t.Errorf("%+v", x)
			}
			if !utf8.ValidString(x.Title) || strings.ContainsAny(x.Title, "\x1b\n") || utf8.RuneCountInString(x.Title) > maxTitle {
				t.Errorf("title %q", x.Title)
			}
			if i > 0 && x.Offset < list[i-1].Offset {
				t.Errorf("%d: out of order", i)
			}
		}
	})
}
