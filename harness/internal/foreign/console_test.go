package foreign

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSerialIsFound(t *testing.T) {
	all := []chardev{{"compat_monitor0", "unix:/m,server=on"}, {"other", "null"}, {"serial0", "file"}, {"charserial0", "pty:/dev/pts/7"}, {"mine", "vc"}}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"by -serial":              {[]string{"-serial", "file:/x"}, "serial0"},
		"by its chardev":          {[]string{"-chardev", "vc,id=mine", "-serial", "chardev:mine", "-serial", "chardev:other"}, "mine"},
		"by a device":             {[]string{"--device", "isa-serial,chardev=mine"}, "mine"},
		"by a device in JSON":     {[]string{"-device", `{"driver":"isa-serial","id":"serial0","chardev":"charserial0","index":0}`}, "charserial0"},
		"of another device":       {[]string{"-device", "virtio-rng-pci,id=mine"}, "serial0"},
		"of arguments not known":  {nil, "serial0"},
		"of a chardev not listed": {[]string{"-serial", "chardev:none"}, "serial0"},
	} {
		if c, ok := firstSerial(tt.args, all); !ok || c.Label != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, c.Label, ok, tt.want)
		}
	}
	if c, ok := firstSerial(nil, all[:2]); ok {
		t.Errorf("%+v where there is none", c)
	}
}

func TestConsoleIsReadable(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "a,b.log")
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	quoted := filepath.Join(dir, "a,,b.log")
	for name, tt := range map[string]struct {
		dev  chardev
		args []string
		path string // "": nowhere
	}{
		"a file":                      {chardev{"serial0", "file"}, []string{"-serial", "file:" + quoted}, log},
		"a file by its chardev":       {chardev{"c", "file"}, []string{"-chardev", "file,id=c,path=" + quoted}, log},
		"a file that is not told":     {chardev{"c", "file"}, []string{"-chardev", "file,id=c,path=/dev/fdset/2"}, ""},
		"a log beside a pty":          {chardev{"c", "pty:/dev/pts/1"}, []string{"-chardev", "pty,id=c,logfile=" + quoted}, log},
		"a pty elsewhere":             {chardev{"c", "pty:/dev/pts/none"}, nil, ""},
		"a socket that is free":       {chardev{"c", "disconnected:unix:" + log + ",server=on"}, nil, log},
		"a socket that another has":   {chardev{"c", "unix:/s,server=on"}, nil, ""},
		"a terminal":                  {chardev{"serial0", "stdio"}, nil, ""},
		"a window":                    {chardev{"serial0", "vc"}, nil, ""},
		"nothing":                     {chardev{"serial0", "null"}, nil, ""},
		"something that is not known": {chardev{"serial0", "spicevmc"}, nil, ""},
	} {
		path, why := new(Guest).readable(tt.dev, serialOptions(tt.args, tt.dev.Label))
		if path != tt.path || (why == "") == (tt.path == "") {
			t.Errorf("%s: %q, %q, want %q", name, path, why, tt.path)
		}
	}
}

func TestFileOfADomain(t *testing.T) {
	for text, want := range map[string]string{
		"<domain><devices><serial type='file'><source path='/log'/></serial></devices></domain>":                                     "/log",
		"<domain><devices><serial type='pty'><source path='/dev/pts/2'/><log file='/log' append='off'/></serial></devices></domain>": "/log",
		"<domain><devices><serial type='pty'><source path='/dev/pts/2'/></serial><serial type='file'/></devices></domain>":           "",
		"<domain/>": "", "no XML": "",
	} {
		if got := fileOf(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
