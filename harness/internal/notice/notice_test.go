package notice

import (
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/result"
)

// sample is a line that a wording fits.
func sample(wording string) string {
	s, begin := strings.CutPrefix(wording, "^")
	s, end := strings.CutSuffix(s, "$")
	s = strings.ReplaceAll(strings.ReplaceAll(s, anything, "/some/where"), subject, "SUBJECT")
	if !begin {
		s = "before it " + s
	}
	if !end {
		s += " and more"
	}
	return s
}

// TestEveryWordingIsFound: each wording gives its row with its subject, and none is
// hidden by a row above it.
func TestEveryWordingIsFound(t *testing.T) {
	for i := range table {
		row := &table[i]
		for _, w := range row.Lines {
			got, what := Match([]byte(sample(w)), row.Phase == EarlyUser)
			if got != row {
				t.Errorf("%q gives %v, want the row %s", sample(w), got, row.Name)
			}
			if strings.Contains(w, subject) && !strings.Contains(string(what), "SUBJECT") {
				t.Errorf("%q gives the subject %q", sample(w), what)
			}
		}
	}
}

// TestRowsAreWhole: a row that can be an answer says all that an answer needs.
func TestRowsAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, n := range All() {
		if n.Role == Go {
			continue
		}
		if names[n.Name] || n.Title == "" || n.Means == "" || n.Fix == "" || n.Cause == "" || len(n.Lines) == 0 {
			t.Errorf("%s: its name is taken, or it lacks a title, meaning, remedy, cause or wording", n.Name)
		}
		names[n.Name] = true
		for _, what := range []string{"", "SUBJECT"} {
			for _, s := range []string{n.Headline(what), n.Says(what)} {
				if strings.Contains(s, subject) || strings.Contains(s, "()") || strings.Contains(s, "  ") || strings.HasSuffix(s, " ") {
					t.Errorf("%s reads %q with the subject %q", n.Name, s, what)
				}
			}
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		line, name, what string
		runs             bool
	}{
		{"error: no such device: 1111-2222.", "grub-no-device", "1111-2222", false},
		{"error: ../../grub-core/commands/search.c:315:no such device: 1111-2222.", "grub-no-device", "1111-2222", false},
		{"error: file `/boot/vmlinuz-6.1' not found.", "grub-file", "/boot/vmlinuz-6.1", false},
		{"grub rescue> ", "grub-rescue", "", false},
		{"grub rescue> ", "", "", true},
		{"   grub>", "grub-prompt", "", false},
		{"=> ", "uboot-prompt", "", false},
		{"=> 3", "", "", false},
		{"a => b", "", "", false},
		{`BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Access Denied`, "secure-boot", "", false},
		{`BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found`, "boot-entry", `Boot0001 "UEFI Misc Device`, false},
		{"Synchronous Exception at 0x0000000077BABAFC", "uefi-exception", "Synchronous", false},
		{"/dev/sda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.", "fsck", "/dev/sda1", true},
		{"Please unlock disk sda3_crypt: ", "passphrase", "sda3_crypt", true},
		{"Message: cannot import 'rpool': no such pool available", "zfs-no-pool", "rpool", true},
		{"Message: cannot import 'rpool': more than one matching pool", "zfs-import", "rpool", true},
		{"[!!!!!!] Failed to mount API filesystems, freezing.", "systemd-freezes", "Failed to mount API filesystems", true},
		{"", "", "", false},
		{"error", "", "", false},
	}
	for _, test := range tests {
		n, what := Match([]byte(test.line), test.runs)
		name := ""
		if n != nil {
			name = n.Name
		}
		if name != test.name || string(what) != test.what {
			t.Errorf("%q gives %q %q, want %q %q", test.line, name, what, test.name, test.what)
		}
	}
}

func TestCausesAreKnown(t *testing.T) {
	for _, n := range All() {
		if n.Role != Go && n.Phase == BeforeKernel && !slices.Contains([]result.Cause{result.CauseFirmware, result.CausePassphrase}, n.Cause) {
			t.Errorf("%s has the cause %s", n.Name, n.Cause)
		}
	}
}

// FuzzMatch: no line makes it fail, and a subject is part of its line.
func FuzzMatch(f *testing.F) {
	for _, n := range All() {
		for _, w := range n.Lines {
			f.Add([]byte(sample(w)), n.Phase == EarlyUser)
		}
	}
	f.Fuzz(func(t *testing.T, line []byte, runs bool) {
		n, what := Match(line, runs)
		if n == nil && what != nil || !strings.Contains(string(line), string(what)) {
			t.Fatalf("%q gives the subject %q", line, what)
		}
	})
}
