package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/agentproto"
)

func TestATestimonyHasTheFilesOfAllOthers(t *testing.T) {
	proc := t.TempDir()
	symbols := strings.Repeat("ffffffff81000000 T _text\n", 5000) // several lines of text
	for path, text := range map[string]string{
		"1/task/1/stat": "1 (init) S 0", "1/task/1/wchan": "do_wait", "1/task/1/stack": "[<0>] do_wait+0x1/0x2\n",
		"1/task/9/stat": "9 (init) S 0", // it ends while it is read
		"7/task/7/stat": "7 (init) R 1", "7/task/7/wchan": "0", "7/task/7/stack": "",
		"1/task/1/status": "voluntary_ctxt_switches:\t3\n", "1/status": "", "net/stat": "", "kallsyms": symbols,
	} {
		path = filepath.Join(proc, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var console bytes.Buffer
	console.WriteString("[    0.1] Linux\n")
	if err := sendProc(&console, proc, 7); err != nil {
		t.Fatal(err)
	}
	console.WriteString("[    9.9] more\n")
	for line := range bytes.Lines(console.Bytes()) {
		if len(line) > 1025 {
			t.Fatalf("a line of %d bytes", len(line))
		}
	}
	// A terminal makes \r\n of \n.
	files, err := agentproto.ReadTestimony(bytes.ReplaceAll(console.Bytes(), []byte("\n"), []byte("\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"1/task/1/stat": "1 (init) S 0", "1/task/1/wchan": "do_wait", "1/task/1/stack": "[<0>] do_wait+0x1/0x2\n",
		"1/task/1/status": "voluntary_ctxt_switches:\t3\n", "1/task/9/stat": "9 (init) S 0", "self": "7", "kallsyms": symbols,
	}
	if len(files) != len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
	for path, text := range want {
		if got, ok := files[filepath.Join(proc, path)[1:]]; !ok || string(got) != text {
			t.Errorf("%s is %.40q (%v), want %.40q", path, got, ok, text)
		}
	}
	// The kernel's lines in the middle of it are left out.
	half := console.Len() / 2
	mixed := slices.Concat(console.Bytes()[:half], []byte("[   12.345678] hrtimer: interrupt took 9 ns\r\n"), console.Bytes()[half:])
	if again, err := agentproto.ReadTestimony(mixed); err != nil || len(again) != len(want) {
		t.Errorf("with a line of the kernel in it: %d files, %v, want %d", len(again), err, len(want))
	}
	// What a line lost cannot be made up.
	torn := bytes.Replace(console.Bytes(), []byte("\n\n"), []byte("\n[ 1.0] x\n\n"), 1)
	torn = append(torn[:len(torn)/2:len(torn)/2], append([]byte("[ 1.0] eth0: up"), torn[len(torn)/2:]...)...)
	for name, console := range map[string][]byte{
		"no testimony": []byte("[    0.1] Linux\n"), "torn": torn, "cut": console.Bytes()[:console.Len()/2], "empty": nil,
	} {
		if _, err := agentproto.ReadTestimony(console); !errors.Is(err, agentproto.ErrNoTestimony) {
			t.Errorf("%s: %v, want ErrNoTestimony", name, err)
		}
	}
}
