package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// faultModule is a module whose insertion goes wrong in the way that its
// parameter names (images/faultmod). The image has it where it is needed.
const faultModule = "/lib/unwedge/unwedge_fault.ko"

// insertFault inserts it in this thread, which then does not come back.
func insertFault(name string) {
	f, err := os.Open(faultModule)
	if err != nil {
		fmt.Println("unwedge agent: load fault module:", err)
		return
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "fault="+name, 0); err != nil {
		fmt.Printf("unwedge agent: load fault module with fault=%s: %v\n", name, err)
	}
}

// tryModules loads the modules of a list, and reports how each fared. An image
// without external modules has no list.
func tryModules(list string) {
	f, err := os.Open(list)
	if err != nil {
		return
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var t agentproto.ModuleTrial
		r := agentproto.Report{V: 1, Stage: stage.Module, Uptime: uptime()}
		if err := json.Unmarshal(sc.Bytes(), &t); err != nil {
			r.Error = "read the list of modules: " + err.Error()
		} else {
			r.Module = tryModule(t)
		}
		if err := send(r); err != nil {
			fmt.Println("unwedge agent:", err)
		}
	}
}

func tryModule(t agentproto.ModuleTrial) *agentproto.ModuleTried {
	tried := &agentproto.ModuleTried{Label: t.Label}
	log := openLog()
	defer unix.Close(log)
	tried.Errno = errnoName(insert(t))
	tried.Log = lastLines(kernelLog(log, t.Name))
	if t.Param != "" {
		tried.Param = word(filepath.Join("/sys/module", t.Name, "parameters", t.Param))
	}
	return tried
}

func insert(t agentproto.ModuleTrial) error {
	f, err := os.Open(t.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	args := ""
	if t.Param != "" {
		args = t.Param + "=" + t.Value
	}
	return unix.FinitModule(int(f.Fd()), args, 0)
}

// errnoName is the name of an error of the kernel, "" of none.
func errnoName(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno) && unix.ErrnoName(errno) != "":
		return unix.ErrnoName(errno)
	default:
		return err.Error()
	}
}

// openLog opens the kernel log behind its last record; -1 where there is none.
func openLog() int {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return -1
	}
	return fd
}

// maxRecords bounds how many records of the log are looked at.
const maxRecords = 1000

// kernelLog returns the lines since openLog that are about modules: those that
// have the module's name in them, or the word.
func kernelLog(fd int, name string) []string {
	var lines []string
	buf := make([]byte, 8192)
	for range maxRecords {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR) { // EPIPE: records were overwritten
			continue
		}
		if err != nil || n == 0 {
			break
		}
		// "6,339,5140900,-;text", and lines that begin with a space for what
		// belongs to it (Documentation/ABI/testing/dev-kmsg).
		_, text, _ := strings.Cut(string(buf[:n]), ";")
		text, _, _ = strings.Cut(text, "\n")
		if strings.Contains(text, name) || strings.Contains(strings.ToLower(text), "module") {
			lines = append(lines, text)
		}
	}
	return lines
}

// maxLog bounds the log in a report, in bytes: the report must fit into one record
// of the kernel log.
const maxLog = 500

// lastLines drops the first lines of a log that is too long.
func lastLines(lines []string) []string {
	size := 0
	for i := len(lines) - 1; i >= 0; i-- {
		if size += len(lines[i]) + 3; size > maxLog {
			return lines[i+1:]
		}
	}
	return lines
}
