package findings

import (
	"fmt"
	"strings"
	"testing"

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
