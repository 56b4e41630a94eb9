package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
)

// ThreadTimes returns the host CPU time, user and system, that threads of a
// process have used, by thread id. Two calls some time apart tell a vCPU that
// idles from one that spins. The resolution is a tick, 10 ms.
//
// A thread that has ended is missing from the result. The error is
// fs.ErrNotExist when the whole process has.
func ThreadTimes(pid int, tids []int) (map[int]time.Duration, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("read CPU times: process number %d is not positive", pid)
	}
	tick, err := tickLength()
	if err != nil {
		return nil, fmt.Errorf("read CPU times: %w", err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		return nil, fmt.Errorf("read CPU times: %w", err)
	}
	times := make(map[int]time.Duration, len(tids))
	for _, tid := range tids {
		stat, err := readSmall(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
		// ESRCH: it ended between open and read.
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read CPU times: %w", err)
		}
		ticks, err := cpuTicks(stat)
		if err != nil {
			return nil, fmt.Errorf("read CPU times of thread %d: %w", tid, err)
		}
		times[tid] = time.Duration(ticks) * tick
	}
	return times, nil
}

// cpuTicks is utime + stime, fields 14 and 15 of proc_pid_stat(5). The second
// field, the name, may hold anything, spaces and parentheses too, so counting
// begins behind the last parenthesis.
func cpuTicks(stat []byte) (int64, error) {
	i := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[i+1:])
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("stat line %.80q is too short", stat)
	}
	var sum int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 48)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("stat line has the CPU time %.20q", f)
		}
		sum += n
	}
	return sum, nil
}

// tickLength is the unit of those fields, from the AT_CLKTCK that the kernel
// gives every process (getauxval(3)): what sysconf(_SC_CLK_TCK) returns.
func tickLength() (time.Duration, error) {
	const atClkTck = 17
	auxv, err := readSmall("/proc/self/auxv")
	if err != nil {
		return 0, err
	}
	for ; len(auxv) >= 16; auxv = auxv[16:] { // pairs of 64-bit words
		hz := binary.NativeEndian.Uint64(auxv[8:])
		if binary.NativeEndian.Uint64(auxv) == atClkTck && hz > 0 && hz <= uint64(time.Second) {
			return time.Second / time.Duration(hz), nil
		}
	}
	return 0, errors.New("the kernel does not say how long a tick is")
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return io.ReadAll(io.LimitReader(f, 64<<10))
}
