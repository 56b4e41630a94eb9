package foreign

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Console is where the guest's first UART goes to.
type Console struct {
	// Chardev is QEMU's id of its chardev, "" where it is not known.
	Chardev string
	// Path is a file, a pty or a socket in which it can be read; "": nowhere, and Why says
	// why.
	Path, Why string
}

// chardev is what QEMU says of one (query-chardev); Filename is of one of the forms
// "pty:/dev/pts/3", "file", "unix:PATH,server=on", "disconnected:unix:PATH,server=on".
type chardev struct {
	Label    string `json:"label"`
	Filename string `json:"filename"`
}

// Console finds the first UART: by QEMU's monitor, its command line and libvirt's
// description of the domain.
func (g *Guest) Console(ctx context.Context) (c Console, err error) {
	var all []chardev
	if err := g.QMP.Execute(ctx, "query-chardev", nil, &all); err != nil {
		return c, fmt.Errorf("find the guest's console: %w", err)
	}
	args := g.Args()
	first, ok := firstSerial(args, all)
	if !ok {
		c.Why = "the guest has no serial port"
		return c, nil
	}
	c.Chardev = first.Label
	c.Path, c.Why = g.readable(first, serialOptions(args, first.Label))
	if file := g.libvirtConsole(); file != "" && exists(file) {
		c.Path, c.Why = file, ""
	}
	return c, nil
}

// serialNames are the labels of a first UART whose QEMU's command line cannot be read.
var serialNames = []string{"serial0", "charserial0", "console", "charconsole0"}

// firstSerial is the chardev of the first UART.
func firstSerial(args []string, all []chardev) (chardev, bool) {
	names := serialNames
	if id := serialID(args); id != "" {
		names = append([]string{id}, names...)
	}
	for _, name := range names {
		if i := slices.IndexFunc(all, func(c chardev) bool { return c.Label == name }); i >= 0 {
			return all[i], true
		}
	}
	return chardev{}, false
}

// serialDevices are the UARTs that -device makes; the others are the machine's, which
// -serial connects.
var serialDevices = []string{"isa-serial", "pci-serial"}

// serialID is the id of the chardev that the first UART was given; "" where it was given
// none.
func serialID(args []string) string {
	for i := 1; i < len(args); i++ {
		value := args[i]
		switch flag(args[i-1]) {
		case "serial":
			id, ok := strings.CutPrefix(value, "chardev:")
			if !ok {
				return ""
			}
			return id
		case "device":
			o := options(value)
			if slices.Contains(serialDevices, o["driver"]) {
				return o["chardev"]
			}
		}
	}
	return ""
}

// serialOptions are those that a chardev was made with.
func serialOptions(args []string, label string) map[string]string {
	for i := 1; i < len(args); i++ {
		switch flag(args[i-1]) {
		case "chardev":
			if o := options(args[i]); o["id"] == label {
				return o
			}
		case "serial":
			if path, ok := strings.CutPrefix(args[i], "file:"); ok && label == serialNames[0] {
				return map[string]string{"driver": "file", "path": strings.ReplaceAll(path, ",,", ",")}
			}
		}
	}
	return nil
}

// options reads QEMU's own form of options, or the JSON that libvirt writes for devices,
// as far as its values are words. The first word is the driver.
func options(text string) map[string]string {
	if strings.HasPrefix(text, "{") {
		return jsonOptions(text)
	}
	out := map[string]string{}
	const comma = "\x00"
	for i, word := range strings.Split(strings.ReplaceAll(text, ",,", comma), ",") {
		word = strings.ReplaceAll(word, comma, ",")
		name, value, ok := strings.Cut(word, "=")
		if i == 0 && !ok {
			name, value = "driver", word
		}
		out[name] = value
	}
	return out
}

// readable is where the output of a chardev can be read, or why nowhere.
func (g *Guest) readable(c chardev, made map[string]string) (path, why string) {
	if file := made["logfile"]; file != "" && exists(g.seen(file)) {
		return g.seen(file), ""
	}
	kind, rest, _ := strings.Cut(c.Filename, ":")
	switch kind {
	case "pty":
		return g.pty(rest)
	case "file":
		if file := made["path"]; file != "" && exists(g.seen(file)) {
			return g.seen(file), ""
		}
		return "", "QEMU writes the console to a file whose name its command line does not tell: name it with --console"
	case "stdio", "mux":
		return g.standardOutput()
	case "disconnected":
		if _, socket, ok := strings.Cut(c.Filename, ":unix:"); ok {
			socket, _, _ = strings.Cut(socket, ",server")
			return g.seen(socket), ""
		}
		return "", fmt.Sprintf("the console goes to %s", c.Filename)
	case "unix", "tcp", "telnet", "websocket":
		return "", "another client is connected to the console's socket, and there can be one only: give the chardev a logfile="
	case "null":
		return "", "QEMU throws the console's output away"
	case "vc":
		return "", "QEMU shows the console in a window of its own"
	default:
		return "", fmt.Sprintf("the console goes to %q", c.Filename)
	}
}

// pty is the other end of QEMU's pty, unless somebody reads it: of what two read each
// gets a part.
func (g *Guest) pty(path string) (string, string) {
	if pid := reader(path, g.PID); pid != 0 {
		return "", fmt.Sprintf("the console, %s, is being read by process %d: of what two read each gets a part", path, pid)
	}
	if !exists(path) {
		return "", fmt.Sprintf("the console is %s of another namespace", path)
	}
	return path, ""
}

// reader is a process, other than QEMU and this one, that has a file open; 0: none that
// can be seen.
func reader(path string, qemu int) int {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == qemu || pid == os.Getpid() {
			continue
		}
		dir := "/proc/" + p.Name() + "/fd"
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue // somebody else's, or it has ended
		}
		for _, fd := range fds {
			if to, err := os.Readlink(dir + "/" + fd.Name()); err == nil && to == path {
				return pid
			}
		}
	}
	return 0
}

// standardOutput is that of QEMU, where it is a file.
func (g *Guest) standardOutput() (string, string) {
	const elsewhere = "the console goes to the terminal or pipe that QEMU was started with: give QEMU -serial file:FILE, or -chardev …,logfile=FILE"
	if g.PID == 0 {
		return "", elsewhere
	}
	path := fmt.Sprintf("/proc/%d/fd/1", g.PID)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return "", elsewhere
	}
	return path, ""
}

// domainXML is what is needed of libvirt's description of a domain
// (formatdomain, "Consoles, serial, parallel & channel devices").
type domainXML struct {
	Serial  []serialXML `xml:"devices>serial"`
	Console []serialXML `xml:"devices>console"`
}

type serialXML struct {
	Type   string `xml:"type,attr"`
	Source struct {
		Path string `xml:"path,attr"`
	} `xml:"source"`
	Log struct {
		File string `xml:"file,attr"`
	} `xml:"log"`
}

// libvirtConsole is the file that libvirt's description names for the first UART, which
// QEMU has from it as an open file only; "" for none.
func (g *Guest) libvirtConsole() string {
	w, ok := g.wire.(*libvirtWire)
	if !ok || len(w.daemons) == 0 {
		return ""
	}
	text, err := w.daemons[len(w.daemons)-1].DomainGetXMLDesc(w.domain, 0)
	if err != nil {
		return ""
	}
	return fileOf(text)
}

// fileOf finds the file in a domain's description.
func fileOf(text string) string {
	var d domainXML
	if xml.Unmarshal([]byte(text), &d) != nil {
		return ""
	}
	all := append(d.Serial, d.Console...)
	switch {
	case len(all) == 0:
		return ""
	case all[0].Log.File != "": // the first counts
		return all[0].Log.File
	case all[0].Type == "file":
		return all[0].Source.Path
	}
	return ""
}
