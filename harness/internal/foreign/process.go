package foreign

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/vcpu"
)

// process is the process that has the threads of all vCPUs; 0 where there is none:
// QEMU runs elsewhere, or in a PID namespace whose numbers are others. Whether it is
// the guest's QEMU is for its memory to show (see Guest.Memory). The peer of the socket
// would not say: libvirt listens in QEMU's place.
func process(cpus []vcpu.CPU) int {
	pid := 0
	for _, c := range cpus {
		p := threadGroup(c.Thread)
		if p == 0 || pid != 0 && p != pid {
			return 0
		}
		pid = p
	}
	return pid
}

// threadGroup is the process that a thread belongs to (proc_pid_status(5), Tgid); 0
// for none.
func threadGroup(thread int) int {
	if thread <= 0 {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return 0
	}
	for l := range bytes.Lines(b) {
		if rest, ok := strings.CutPrefix(string(l), "Tgid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(rest)) // 0 is none
			return pid
		}
	}
	return 0
}

// mapping is one of a process's mappings.
type mapping struct{ from, to uint64 }

// maxMaps bounds how many mappings of a process are looked at.
const maxMaps = 1 << 20

// mappings reads /proc/PID/maps; those that lie side by side are one.
func mappings(pid int) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []mapping
	in := bufio.NewScanner(f)
	for n := 0; n < maxMaps && in.Scan(); n++ {
		var m mapping
		if _, err := fmt.Sscanf(in.Text(), "%x-%x ", &m.from, &m.to); err != nil {
			continue
		}
		if l := len(out) - 1; l >= 0 && out[l].to == m.from {
			out[l].to = m.to
		} else {
			out = append(out, m)
		}
	}
	return out, in.Err()
}

// holds says whether one of the mappings has all of size bytes at an address.
func holds(all []mapping, addr, size uint64) bool {
	for _, m := range all {
		if addr >= m.from && addr < m.to && size <= m.to-addr {
			return true
		}
	}
	return false
}
