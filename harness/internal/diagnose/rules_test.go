package diagnose

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// resultCauses are the constants of type result.Cause, from the source.
func resultCauses(t *testing.T) []result.Cause {
	t.Helper()
	paths, err := filepath.Glob("../../result/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []result.Cause
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Cause" {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, result.Cause(value))
			}
			return true
		})
	}
	return out
}

func TestEveryCauseHasARule(t *testing.T) {
	known := resultCauses(t)
	if len(known) < 40 {
		t.Fatalf("only %d causes were found in package result", len(known))
	}
	given := map[result.Cause]bool{}
	names := map[string]bool{}
	for _, r := range rules() {
		if names[r.name] || r.means == "" || len(r.causes) == 0 {
			t.Errorf("%s: its name is taken, or it lacks its meaning or causes", r.name)
		}
		names[r.name] = true
		for _, c := range r.causes {
			given[c] = true
			if !slices.Contains(known, c) {
				t.Errorf("%s: cause %q is not in package result", r.name, c)
			}
		}
	}
	for _, c := range known {
		if !given[c] {
			t.Errorf("no rule gives the cause %s", c)
		}
	}
}

// allLogs are the logs that TestExplainGolden explains.
func allLogs(t *testing.T) []string {
	t.Helper()
	var logs []string
	for _, glob := range []string{"../dump/testdata/real/*.log", "../dump/testdata/written/*.log", "testdata/*.log"} {
		got, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, got...)
	}
	if len(logs) == 0 {
		t.Fatal("no logs")
	}
	return logs
}

// TestEveryRuleFires: each rule is the answer to some log in testdata or to one
// of the inputs below, once with each of its causes, and gives no other cause.
func TestEveryRuleFires(t *testing.T) {
	inputs := map[string]Input{}
	for _, path := range allLogs(t) {
		inputs[filepath.Base(path)] = fromLog(read(t, path))
	}
	cases, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cases {
		inputs[filepath.Base(path)] = fromLog(readCase(t, path).log)
	}
	maps.Copy(inputs, withoutALog())
	gave := map[string]map[result.Cause]bool{}
	for name, in := range inputs {
		won, d, _ := answer(gather(in))
		if gave[won.name] == nil {
			gave[won.name] = map[result.Cause]bool{}
		}
		gave[won.name][d.Cause] = true
		if !slices.Contains(won.causes, d.Cause) && won.name != "reboot loop" && won.name != "init gave up" { // which take that of what came first
			t.Errorf("%s: %s gives the cause %s, which its row does not list", name, won.name, d.Cause)
		}
	}
	for _, r := range rules() {
		for _, c := range r.causes {
			if !gave[r.name][c] {
				t.Errorf("no log and no input makes %q the answer with the cause %s", r.name, c)
			}
		}
	}
}

// withoutALog are inputs for the rules that no log in testdata shows, because a
// log alone cannot, or because no guest has printed one yet.
func withoutALog() map[string]Input {
	const linux = "[    0.000000] Linux version 6.1.0 (gcc)\n"
	const initcalling = linux + "[    0.400000] smp: Brought up 1 node, 1 CPU\n"
	text := func(lines ...string) Input { return Input{Dump: parsed(toInit + strings.Join(lines, "\n") + "\n")} }
	memory := func(tasks ...model.Task) Input {
		return Input{Dump: parsed(toInit), Memory: tasks, Ending: EndingSilent}
	}
	runs := func(chain, at string) Input {
		t := blocked(1, "init", "R", chain)
		t.Running = true
		in := memory(t)
		in.VCPUs = []VCPU{{Symbol: at, User: at == "", BusyFraction: 1}}
		return in
	}
	silent := func(log string, cpus ...VCPU) Input {
		return Input{Dump: parsed(log), Ending: EndingSilent, VCPUs: cpus}
	}
	busy := func(at string) VCPU { return VCPU{Symbol: at, BusyFraction: 1} }
	idle := VCPU{Symbol: "default_idle+0x5/0x10", Idle: true}
	const panicked = "[   40.000000] Kernel panic - not syncing: "
	const named = "[   30.000000] INFO: task kworker/0:9:77 blocked for more than 22 seconds."

	var bomb []model.Task
	for pid := 1; pid <= 2*bombProcesses; pid++ {
		bomb = append(bomb, model.Task{Comm: "bomb", PID: pid, TGID: pid, PPID: pid / 2, State: "R"})
	}
	shell := memory(blocked(1, "sh", "S", asleep+"n_tty_read tty_read vfs_read"+syscall))
	shell.Dump = parsed(toInit + "[    1.100000] Failed to execute /init (error -8)\n")

	in := map[string]Input{
		"a broken initramfs":       text("[    1.000000] Initramfs unpacking failed: junk within compressed archive", panicked+"VFS: Unable to mount root fs on unknown-block(0,0)"),
		"a warning panics":         text("[   39.000000] WARNING: CPU: 0 PID: 1 at drivers/demo.c:3 demo_init+0x1/0x2", panicked+"panic_on_warn set ..."),
		"a hard lockup panics":     text(panicked + "Hard LOCKUP"),
		"an RCU stall panics":      text(panicked + "RCU Stall"),
		"dracut":                   text("dracut: FATAL: No or empty root= argument", "dracut: Refusing to continue"),
		"a hard lockup":            text("[   30.000000] watchdog: Watchdog detected hard LOCKUP on cpu 0"),
		"a hung task":              text(named),
		"a fork bomb":              memory(bomb...),
		"an early exception":       runs("native_halt early_fixup_exception early_idt_handler_common parameq setup_arch start_kernel", "native_halt+0x5/0x10"),
		"a task spins":             runs("spin_here vfs_read"+syscall, "spin_here+0x5/0x10"),
		"a crash without a report": runs("spin_here die do_debug_exception el1h_64_sync vprintk_emit _printk start_kernel", "spin_here+0x5/0x10"),
		"a read-write semaphore":   memory(blocked(1, "init", "D", asleep+"rwsem_down_write_slowpath down_write take_it"+syscall)),
		"a semaphore":              memory(blocked(1, "init", "D", timed+"___down_common __down down take_it"+syscall)),
		"a grace period":           memory(blocked(1, "init", "D", timed+"synchronize_rcu drop_it"+syscall)),
		"modprobe":                 memory(blocked(1, "init", "S", completed+"call_usermodehelper_exec __request_module get_it"+syscall)),
		"driver probes":            memory(blocked(1, "init", "D", asleep+"wait_for_device_probe use_it"+syscall)),
		"a shell for init":         shell,
		"a program spins":          runs("", ""),
		"a reset":                  {Dump: parsed(linux), Ending: EndingReset},
		"a flood":                  {Dump: parsed(toInit + "again\n"), Ending: EndingSilent, Repeated: 1 << 20},
		"a vCPU spins":             silent(initcalling, busy("spin_here+0x5/0x10")),
		"a delay loop":             silent("", busy("delay_tsc+0x5/0x10")),
		"a CPU without its pages":  silent("", VCPU{Idle: true, Symbol: "__no_granule_support+0x24/0x28"}),
		"an idle silence":          silent("SeaBIOS (version 1)\n", idle),
		"another console":          silent("SeaBIOS (version 1)\n", VCPU{User: true}),
		"init gives ENOMEM":        text("[    1.000000] Failed to execute /init (error -12)", panicked+"No working init found.  Try passing init= option to kernel."),
		"start-up sleeps":          silent(initcalling, idle),
	}
	for what, fn := range map[string]string{"a mutex": "__mutex_lock", "an rwsem": "rwsem_down_read_slowpath", "a semaphore": "___down_common", "a disk": "io_schedule", "a grace period": "synchronize_rcu"} {
		report := []string{
			named,
			"[   30.000001] task:kworker/0:9     state:D stack:0     pid:77    ppid:2      flags:0x00004000",
			"[   30.000002] Call Trace:", "[   30.000003]  <TASK>",
			"[   30.000004]  __schedule+0x1/0x2", "[   30.000005]  " + fn + "+0x1/0x2", "[   30.000006]  take_it+0x1/0x2",
			"[   30.000007]  </TASK>",
		}
		idle := text(report...)
		idle.Memory = []model.Task{blocked(1, "systemd", "S", inEpoll)}
		in["a task hung for "+what] = idle
		in["a panic of one hung for "+what] = text(append(report, panicked+"hung_task: blocked tasks")...)
	}
	return in
}

const (
	readme = "README.md"
	begin  = "<!-- Generated from table.go by go generate: do not edit. -->\n"
	end    = "<!-- End of the generated part. -->\n"
)

// TestReadmeListsTheCauses: the list of causes in README.md is that of the table.
func TestReadmeListsTheCauses(t *testing.T) {
	text := string(read(t, readme))
	head, rest, ok := strings.Cut(text, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no generated part", readme)
	}
	want := head + begin + causeList() + end + tail
	if *update {
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Errorf("%s is out of date: run go generate", readme)
	}
}

// causeList is the table in Markdown.
func causeList() string {
	var b strings.Builder
	for i, s := range table() {
		fmt.Fprintf(&b, "\n### %d. %s\n\n%s\n\n| cause | when | rule |\n|---|---|---|\n", i+1, s.title, s.why)
		for _, r := range s.rules {
			var causes []string
			for _, c := range r.causes {
				causes = append(causes, "`"+string(c)+"`")
			}
			file, _ := runtime.FuncForPC(reflect.ValueOf(r.fire).Pointer()).FileLine(reflect.ValueOf(r.fire).Pointer())
			fmt.Fprintf(&b, "| %s | %s | [%s](%s) |\n", strings.Join(causes, ", "), r.means, r.name, filepath.Base(file))
		}
	}
	return b.String() + "\n"
}
