package harness_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/unwedge/unwedge/harness/internal/probe/gdb/gdbtest"
)

// The fake QEMU is this test binary, started with a QEMU command line; what it
// plays is the word fake=PLAY on the kernel command line, which the test puts
// into the scenario. So tests need no environment of their own and can run side
// by side.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-nodefaults") {
		syscall.Exit(runFake()) // not os.Exit: under the race detector it takes a second
	}
	if dir := os.Getenv(harnessEnv); dir != "" {
		os.Exit(runHarness(dir))
	}
	// The tests wait for their guests and use no CPU meanwhile.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// harnessEnv makes the test binary a harness that boots a fake QEMU in the
// named directory, so that a test can kill it.
const harnessEnv = "UNWEDGE_TEST_HARNESS"

// The files by which a fake and its test speak, in the run's directory.
const (
	pidFile = "fake.pid"
	// readySocket, where the test listens on it, is dialled by the fake when
	// it has come to where its play says. It stays open until the fake ends.
	readySocket = "ready"
)

// fake is a QEMU with one vCPU that idles.
type fake struct {
	play    play
	dir     string   // the run's
	console *os.File // what the guest prints goes to
	typed   *os.File // what is typed at it comes from
	agent   net.Conn
	tid     int
	conts   atomic.Int64 // how often it was told to run
	job     atomic.Value // the last job's id
	looks   atomic.Int64
	broken  atomic.Bool // a BREAK was sent, so the next console byte is a key

	mu      sync.Mutex
	qmp     net.Conn
	running bool
	keys    int
}

// play is what a fake does. Nil functions do nothing.
type play struct {
	start  func(f *fake)           // before it answers anybody
	accept func(f *fake)           // when all are connected, before the greeting
	cont   func(f *fake)           // the guest begins to run
	key    func(f *fake, key byte) // sysrq by BREAK
	board  func(f *fake, key byte) // sysrq by keyboard
	nmi    func(f *fake)           // inject-nmi
	mute   func(cmd string) bool   // commands that get no answer
	refuse func(cmd string) string // commands that get an error
	spins  bool                    // its vCPU runs, and computes only if it counts, too
	counts bool
	reads  bool                      // its disk answers reads
	roams  bool                      // it is seen in ever new places
	status func(f *fake) string      // query-status's answer, where it is not running or paused
	did    func(f *fake, cmd string) // after each command
	gdb    *gdbtest.Stub             // its gdb stub; nil: it serves none
}

func runFake() int {
	f := &fake{dir: filepath.Dir(os.Getenv("TMPDIR"))}
	args := map[string]int{}
	for i, a := range os.Args {
		if i == 0 {
			continue
		}
		switch os.Args[i-1] {
		case "-append":
			for _, w := range strings.Fields(a) {
				if name, ok := strings.CutPrefix(w, "fake="); ok {
					for _, known := range []map[string]play{plays, probePlays, secondPlays} {
						if f.play, ok = known[name]; ok {
							break
						}
					}
					if !ok {
						return fail("no such play: " + name)
					}
				}
			}
		case "-chardev":
			id, fd, path := "", 0, ""
			for _, kv := range strings.Split(a, ",") {
				k, v, _ := strings.Cut(kv, "=")
				switch k {
				case "id":
					id = v
				case "fd":
					fd, _ = strconv.Atoi(v)
				case "path":
					path = v
				}
			}
			if path != "" {
				if err := f.openPipes(path); err != nil {
					return fail(err.Error())
				}
				continue
			}
			args[id] = fd
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, pidFile), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return fail(err.Error())
	}
	call(f.play.start, f)
	if err := f.serve(args); err != nil {
		return fail(err.Error())
	}
	return 0
}

func call(do func(*fake), f *fake) {
	if do != nil {
		do(f)
	}
}

func fail(why string) int {
	fmt.Fprintln(os.Stderr, "fake:", why)
	return 9
}

func (f *fake) serve(fds map[string]int) error {
	listeners := map[string]net.Listener{}
	for _, id := range []string{"agent", "qmp"} {
		l, err := net.FileListener(os.NewFile(uintptr(fds[id]), id))
		if err != nil {
			return fmt.Errorf("%s: descriptor %d: %w", id, fds[id], err)
		}
		listeners[id] = l
	}
	var err error
	if f.agent, err = listeners["agent"].Accept(); err != nil {
		return err
	}
	f.tid = idleThread()
	if f.play.spins {
		f.tid = busyThread()
	}
	go f.readConsole()
	if f.play.gdb != nil {
		if err := f.serveGDB(fds["gdb"]); err != nil {
			return err
		}
	}
	for { // one monitor after the other, as QEMU serves a chardev
		conn, err := listeners["qmp"].Accept()
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.qmp = conn
		f.mu.Unlock()
		call(f.play.accept, f)
		if f.monitor(conn) {
			return nil
		}
	}
}

// serveGDB serves one connection to the gdb stub, which stops the guest.
func (f *fake) serveGDB(fd int) error {
	l, err := net.FileListener(os.NewFile(uintptr(fd), "gdb"))
	if err != nil {
		return fmt.Errorf("gdb: descriptor %d: %w", fd, err)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			f.setRunning(false)
			f.play.gdb.Serve(conn)
			f.setRunning(true)
		}
	}()
	return nil
}

// openPipes opens the console's pipes as QEMU does (chardev/char-pipe.c).
func (f *fake) openPipes(path string) (err error) {
	if f.typed, err = os.OpenFile(path+".in", os.O_RDWR, 0); err != nil {
		return err
	}
	f.console, err = os.OpenFile(path+".out", os.O_RDWR, 0)
	return err
}

// idleThread returns the number of a thread of this process that never runs.
func idleThread() int {
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		select {}
	}()
	return <-tid
}

// busyThread returns the number of a thread of this process that always runs.
func busyThread() int {
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		for n := 0; ; n++ {
			runtime.KeepAlive(n)
		}
	}()
	return <-tid
}

func (f *fake) readConsole() {
	in := bufio.NewReader(f.typed)
	for {
		key, err := in.ReadByte()
		if err != nil {
			return
		}
		if f.broken.Swap(false) && f.play.key != nil {
			f.play.key(f, key)
		}
	}
}

// monitor serves one QMP connection; true when it was told to quit.
func (f *fake) monitor(conn net.Conn) (quit bool) {
	f.send(`{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":"fake"},"capabilities":[]}}`)
	in := bufio.NewScanner(conn)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c struct {
			Execute   string          `json:"execute"`
			Arguments json.RawMessage `json:"arguments"`
			ID        string          `json:"id"`
		}
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "fake:", err)
			syscall.Exit(9)
		}
		if f.play.mute != nil && f.play.mute(c.Execute) {
			continue
		}
		if f.play.refuse != nil {
			if why := f.play.refuse(c.Execute); why != "" {
				f.send(fmt.Sprintf(`{"id":%q,"error":{"class":"GenericError","desc":%q}}`, c.ID, why))
				continue
			}
		}
		ret, after := f.execute(c.Execute, c.Arguments)
		f.send(fmt.Sprintf(`{"id":%q,"return":%s}`, c.ID, ret))
		if after != nil {
			after()
		}
		if f.play.did != nil {
			f.play.did(f, c.Execute)
		}
		if c.Execute == "quit" {
			return true
		}
	}
	return false
}

// execute returns a command's answer, and what happens once it was given.
func (f *fake) execute(cmd string, args json.RawMessage) (ret string, after func()) {
	switch cmd {
	case "query-cpus-fast":
		return fmt.Sprintf(`[{"cpu-index":0,"thread-id":%d,"target":"x86_64","props":{}}]`, f.tid), nil
	case "query-blockstats":
		n := 7
		if f.play.reads {
			n = int(f.looks.Add(1))
		}
		return fmt.Sprintf(`[{"device":"disk0","stats":{"rd_operations":%d,"wr_operations":%d}}]`, n, f.looks.Add(1)), nil
	case "query-kvm":
		return `{"enabled":false,"present":true}`, nil
	case "blockdev-create", "snapshot-save", "snapshot-load":
		var a struct {
			ID string `json:"job-id"`
		}
		if json.Unmarshal(args, &a) == nil {
			f.job.Store(a.ID)
		}
	case "query-block":
		return "[]", nil
	case "query-jobs":
		return fmt.Sprintf(`[{"id":%q,"status":"concluded"}]`, f.job.Load()), nil
	case "cont":
		f.setRunning(true)
		f.conts.Add(1)
		return "{}", func() { go call(f.play.cont, f) }
	case "stop":
		f.setRunning(false)
		return "{}", func() { f.event("STOP", "{}") }
	case "query-status":
		return fmt.Sprintf(`{"status":%q,"running":%t}`, f.status(), f.isRunning()), nil
	case "human-monitor-command":
		halted, rax := 1, 0
		if f.play.spins {
			halted = 0
		}
		if f.play.counts {
			rax = int(f.looks.Add(1))
		}
		pc := uint64(0xffffffff81e4a0ab)
		if f.play.roams {
			pc += uint64(rax) << 12
		}
		b, _ := json.Marshal(fmt.Sprintf("CPU#0\nRAX=%016x RBX=0\nRIP=%016x RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=%d\nRSP=ffffffff82803e80\n", rax, pc, halted))
		return string(b), nil
	case "inject-nmi":
		return "{}", func() { call(f.play.nmi, f) }
	case "chardev-send-break":
		f.broken.Store(true)
	case "send-key":
		var a struct {
			Keys []struct{ Data string }
		}
		if json.Unmarshal(args, &a) == nil && len(a.Keys) == 3 && f.play.board != nil {
			return "{}", func() { f.play.board(f, a.Keys[2].Data[0]) }
		}
	}
	return "{}", nil
}

func (f *fake) setRunning(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = on
}

func (f *fake) isRunning() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

func (f *fake) status() string {
	switch {
	case f.play.status != nil:
		return f.play.status(f)
	case f.isRunning():
		return "running"
	default:
		return "paused"
	}
}

// send writes one QMP line. A test that has left is no trouble of the fake's.
func (f *fake) send(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = io.WriteString(f.qmp, line+"\r\n")
}

func (f *fake) event(name, data string) {
	f.send(fmt.Sprintf(`{"timestamp":{"seconds":1700000000,"microseconds":1},"event":%q,"data":%s}`, name, data))
}

func (f *fake) print(lines ...string) {
	for _, l := range lines {
		_, _ = io.WriteString(f.console, l+"\r\n")
	}
}

func (f *fake) tell(lines ...string) {
	for _, l := range lines {
		_, _ = io.WriteString(f.agent, l+"\n")
	}
}

// ready tells the test that this point is reached.
func (f *fake) ready() {
	if c, err := net.Dial("unix", filepath.Join(f.dir, readySocket)); err == nil {
		openForEver = append(openForEver, c)
	}
}

var openForEver []net.Conn // until the fake ends

// spoil makes a file of the run's directory one that cannot be written.
func (f *fake) spoil(name string) {
	p := filepath.Join(f.dir, name)
	if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
		panic(err)
	}
	if err := os.Symlink("/dev/full", p); err != nil {
		panic(err)
	}
}

const (
	buildID = "0123456789abcdef0123456789abcdef01234567"
	release = "6.1.0-fake-amd64"
)

// report is an agent's report as JSON; extra fields replace the good ones.
func report(stage string, extra ...string) string {
	fields := map[string]any{
		"v": 1, "stage": stage, "release": release, "build_id": buildID, "fips": 0, "hwrng": "none",
		"crng": true, "uptime": 1.5,
	}
	for i := 0; i+1 < len(extra); i += 2 {
		var v any
		if err := json.Unmarshal([]byte(extra[i+1]), &v); err != nil {
			panic(err)
		}
		fields[extra[i]] = v
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sysrqDump answers a key as a 6.1 kernel does whose PID 1 waits for random
// bytes; timers is put into the answer to q.
func (f *fake) sysrqDump(key byte, timers ...string) {
	const at = "[   10.000000] "
	switch key {
	case '9':
		f.print(at+"sysrq: Changing Loglevel", at+"sysrq: Loglevel set to 9")
	case 'w':
		f.print(at + "sysrq: Show Blocked State")
	case 't':
		f.print(at+"sysrq: Show State",
			at+"task:init            state:S stack:0     pid:1     ppid:0      flags:0x00000000",
			at+"Call Trace:", at+" <TASK>",
			at+" __schedule+0x34d/0x9e0", at+" schedule+0x5a/0xd0", at+" schedule_timeout+0x118/0x150",
			at+" wait_for_random_bytes+0xe4/0x180", at+" __do_sys_getrandom+0x7b/0xa0",
			at+" do_syscall_64+0x58/0xc0", at+" entry_SYSCALL_64_after_hwframe+0x64/0xce", at+" </TASK>",
			at+"task:kthreadd        state:S stack:0     pid:2     ppid:0      flags:0x00004000",
			at+"Call Trace:", at+" <TASK>", at+" schedule+0x5a/0xd0", at+" kthreadd+0x2f0/0x300", at+" ret_from_fork+0x1f/0x30", at+" </TASK>")
	case 'l':
		f.print(at + "sysrq: Show backtrace of all active CPUs")
	case 'd':
		f.print(at + "sysrq: Show Locks Held")
	case 'm':
		f.print(at+"sysrq: Show Memory", at+"Mem-Info:")
	case 'q':
		f.print(append([]string{at + "sysrq: Show clockevent devices & pending hrtimers (no others)"}, timers...)...)
	}
}
