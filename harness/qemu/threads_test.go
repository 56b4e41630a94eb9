package qemu

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"testing"
)

func TestThreadTimes(t *testing.T) {
	pid := os.Getpid()
	times, err := ThreadTimes(pid, []int{pid, math.MaxInt32})
	if _, ok := times[pid]; err != nil || !ok || len(times) != 1 {
		t.Errorf("times = %v, %v", times, err)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip("no true(1)")
	}
	if _, err := ThreadTimes(cmd.Process.Pid, []int{1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	if _, err := ThreadTimes(0, nil); err == nil {
		t.Error("process 0 was accepted")
	}
}

func TestCPUTicks(t *testing.T) {
	const numbers = " S 1 2 3 0 -1 4194624 10 20 30 40 700 50 0 0 20 0 4 0 100"
	for _, tt := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"7 (CPU 0/TCG)" + numbers, 750, true},
		{"7 (a) R 1 2 (b))" + numbers, 750, true},
		{"", 0, false}, {"7 (x) S 1 2", 0, false}, {"no parenthesis" + numbers, 0, false},
		{"7 (x) S 1 2 3 0 -1 4194624 10 20 30 40 -1 50 0", 0, false},
		{"7 (x) S 1 2 3 0 -1 4194624 10 20 30 40 99999999999999999999 50 0", 0, false},
	} {
		got, err := cpuTicks([]byte(tt.in))
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("cpuTicks(%q) = %d, %v", tt.in, got, err)
		}
	}
}
