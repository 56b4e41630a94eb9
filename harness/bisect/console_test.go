package bisect

import (
	"os"
	"path/filepath"
	"testing"
)

// The last line of a boot that hangs is from before the guest was asked, and is
// found in the good boot whatever the time was.
func TestApart(t *testing.T) {
	run := func(console, result string) Boot {
		dir := t.TempDir()
		for name, text := range map[string]string{"console.log": console, "result.json": result} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return Boot{Outcome: "hung", Dir: dir}
	}
	const quiet = "[    0.1] one\r\n[    0.2] two\x1b[31m\r\n\r\n"
	hung := run(quiet+"[    5.3] sysrq: Show State\r\n", `{"schema":"unwedge/result/1","stalls":[{"sysrq":[{"key":"9","from":2},{"key":"9","from":2}]},{"sysrq":[{"key":"t","from":36}]}]}`)
	good := run("[    0.1] one\n[    0.3] two\x1b[31m\n[    0.3] three\n[    0.4] four\n", `{"schema":"unwedge/result/1"}`)
	said, next := apart(hung, good)
	if said != "[    0.2] two␛[31m" || next != "[    0.3] three" {
		t.Errorf("said %q, went on %q", said, next)
	}
	if said, next = apart(hung, Boot{Dir: t.TempDir()}); said == "" || next != "" {
		t.Errorf("without the good boot's files: %q, %q", said, next)
	}
	panicked := hung
	panicked.Outcome = "panicked"
	if said, next = apart(panicked, good); said != "" || next != "" {
		t.Errorf("of a panic: %q, %q", said, next)
	}
	if said, next = apart(Boot{Outcome: "hung", Dir: t.TempDir()}, good); said != "" || next != "" {
		t.Errorf("without files: %q, %q", said, next)
	}
}
