package foreign_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fakeQEMU speaks QMP at a socket. Its guest's memory is this process's own, so that
// it can be found in it.
type fakeQEMU struct {
	socket string
	ram    []byte // of the guest, from base on
	base   uint64

	mu       sync.Mutex
	status   string
	commands []string // the ones that change something, in order
	// lie, where set, answers a command in QEMU's place; "" is QEMU's own answer, and
	// "close" and "silence" are what they say.
	lie func(command, line string) string
	got chan string // each of commands
}

const megabyte = 1 << 20

// startFake makes one whose guest runs.
func startFake(t *testing.T) *fakeQEMU {
	t.Helper()
	ram, err := unix.Mmap(-1, 0, 4*megabyte, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(ram) })
	copy(ram[0x3000:], "the guest's own words")
	dir, err := os.MkdirTemp("", "fake") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	q := &fakeQEMU{socket: filepath.Join(dir, "qmp"), ram: ram, base: 1 << 30, status: "running", got: make(chan string, 64)}
	l, err := net.Listen("unix", q.socket)
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			clients.Go(func() { q.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); clients.Wait() })
	return q
}

func (q *fakeQEMU) set(status string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status = status
}

// done is what was done to the guest, and how it is.
func (q *fakeQEMU) done() (commands []string, status string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.commands), q.status
}

func (q *fakeQEMU) serve(conn net.Conn) {
	defer conn.Close()
	fmt.Fprintln(conn, `{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}`)
	in := bufio.NewScanner(conn)
	for in.Scan() {
		var c struct {
			Execute   string
			ID        json.RawMessage
			Arguments struct {
				Line string `json:"command-line"`
			}
		}
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return
		}
		answer := ""
		if q.lie != nil {
			answer = q.lie(c.Execute, c.Arguments.Line)
		}
		switch answer {
		case "":
			answer = q.answer(c.Execute, c.Arguments.Line)
		case "close":
			return
		case "silence":
			continue
		}
		if len(c.ID) > 0 {
			fmt.Fprintf(conn, "{%s, \"id\": %s}\n", answer, c.ID)
		} else {
			fmt.Fprintf(conn, "{%s}\n", answer)
		}
	}
}

func returns(v any) string {
	b, _ := json.Marshal(v)
	return `"return": ` + string(b)
}

func (q *fakeQEMU) answer(command, line string) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch command {
	case "qmp_capabilities":
		return returns(struct{}{})
	case "query-cpus-fast":
		return returns([]map[string]any{{"cpu-index": 0, "thread-id": os.Getpid(), "target": "aarch64"}})
	case "query-status":
		return returns(map[string]any{"status": q.status, "running": q.status == "running"})
	case "stop", "cont":
		q.commands = append(q.commands, command)
		q.status = map[string]string{"stop": "paused", "cont": "running"}[command]
		q.got <- command
		return returns(struct{}{})
	case "human-monitor-command":
		return returns(q.monitor(line))
	default:
		return `"error": {"class": "CommandNotFound", "desc": "no such command"}`
	}
}

func (q *fakeQEMU) monitor(line string) string {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "info":
		return fmt.Sprintf("FlatView #0\n AS \"I/O\", root: io\n Root memory region: io\n  0000000000000000-000000000000ffff (prio 0, i/o): io\n\n"+
			"FlatView #1\n AS \"memory\", root: system\n Root memory region: system\n"+
			"  0000000000000000-0000000003ffffff (prio 0, romd): virt.flash0\n"+
			"  %016x-%016x (prio 0, ram): mach-virt.ram\n"+
			"  %016x-%016x (prio 0, rom): mach-virt.ram @%016x\n\n",
			q.base, q.base+megabyte-1, q.base+megabyte, q.base+uint64(len(q.ram))-1, megabyte)
	case "gpa2hva":
		addr, _ := strconv.ParseUint(rest, 0, 64)
		return fmt.Sprintf("Host virtual address for %#x (mach-virt.ram) is %#x\r\n", addr, uint64(uintptr(unsafe.Pointer(&q.ram[0])))+addr-q.base)
	case "xp":
		addr, _ := strconv.ParseUint(strings.TrimPrefix(rest, "/1gx "), 0, 64)
		return fmt.Sprintf("%016x: 0x%016x\r\n", addr, binary.LittleEndian.Uint64(q.ram[addr-q.base:]))
	}
	return "unknown command: '" + line + "'\r\n"
}
