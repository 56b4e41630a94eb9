package shape_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/shape"
)

const plain = `[    0.000000] Linux version 6.8.0 (ci@build) (gcc 13.2.0) #1 SMP
[    0.341201] smp: Brought up 1 node, 2 CPUs
Starting network: OK
[    1.873000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    1.875000] Call Trace:
[    1.876000]  <TASK>
[    1.877000]  dump_stack_lvl+0x5d/0x80
[    1.884000]  </TASK>
`

// lines makes a log of what is done with each line of plain.
func lines(one func(string) string) string {
	var b strings.Builder
	for l := range strings.Lines(plain) {
		b.WriteString(one(strings.TrimSuffix(l, "\n")) + "\n")
	}
	return b.String()
}

func before(words string) string { return lines(func(l string) string { return words + l }) }

func TestUnwrap(t *testing.T) {
	for _, tc := range []struct{ name, log string }{
		{"GitHub Actions", before("2024-05-01T10:00:01.1234567Z ")},
		{"GitLab", before("2024-05-01T10:00:01.123456Z 00O ")},
		{"Kubernetes", before("2024-05-01T10:00:01.123456789Z stdout F ")},
		{"a date and a level", before("2024-05-01 10:00:01,123 INFO  [console] ")},
		{"Jenkins", before("[2024-05-01T10:00:01.123Z] ")},
		{"ts", before("May 01 10:00:01 ")},
		{"ts %.s", before("1714557601.123456 ")},
		{"time of day", before("10:00:01.123 ")},
		{"time of day in brackets", before("[10:00:01] ")},
		{"a bar", before("guest  | ")},
		{"a pod", before("[pod/virt-launcher-abc/guest-console-log] ")},
		{"quoted", before("> ")},
		{"quoted by two", before("> > ")},
		{"indented", before("    ")},
		{"indented by a tab", before("\t\t")},
		{"line numbers", before("   12  ")},
		{"byte order mark", "\xef\xbb\xbf" + plain},
		{"HTML", "<pre>" + lines(func(l string) string {
			return `<span class="l">` + strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(l) + "</span>"
		}) + "</pre>"},
		{"LAVA", lines(func(l string) string { return `{"dt": "2024", "lvl": "target", "msg": "` + l + `"}` })},
		{"LAVA with its own words", lines(func(l string) string {
			return `- {"dt": "2024", "lvl": "debug", "msg": "lava"}` + "\n" + `- {"dt": "2024", "lvl": "target", "msg": "` + l + `"}`
		})},
		{"docker", lines(func(l string) string { return `{"log":"` + l + `\n","stream":"stdout","time":"2024"}` })},
		{"Kata", lines(func(l string) string {
			return `May 01 10:00:01 host kata[12]: time="2024" level=debug msg="reading guest console" vmconsole="` + l + `"`
		})},
		{"an array", "[\n" + strings.TrimSuffix(lines(func(l string) string { return `"` + l + `",` }), ",\n") + "\n]\n"},
		{"one string", `{"Output": "` + strings.ReplaceAll(plain, "\n", `\r\n`) + `"}`},
		{"an escaped line", strings.ReplaceAll(plain, "\n", `\n`)},
		{"Python", lines(func(l string) string { return "b'" + l + `\r\n'` })},
		{"carets", lines(func(l string) string { return l + "^M" })},
		{"rsyslog", lines(func(l string) string { return l + "#015" })},
		{"no-break spaces", strings.ReplaceAll(plain, " ", "\u00a0")},
		{"quoted JSON behind a date", lines(func(l string) string {
			return `> 2024-05-01T10:00:01Z {"lvl":"target","msg":"` + l + `"}`
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, shapes := shape.Unwrap([]byte(tc.log))
			if len(shapes) == 0 {
				t.Error("no shape was detected")
			}
			got := strings.TrimSpace(strings.ReplaceAll(string(text), "\r", ""))
			if want := strings.TrimSpace(plain); got != want {
				t.Errorf("%q:\n%s\nwant\n%s", shapes, got, want)
			}
		})
	}
}

// A log that is in no shape stays as it is, also where a guest prints what looks
// like one.
func TestPlainStays(t *testing.T) {
	for name, log := range map[string]string{
		"plain":              plain,
		"JSON of a program":  plain + strings.Repeat(`{"level":"info","msg":"hello"}`+"\n", 4),
		"HTML of a program":  plain + "<html><body>&lt;</body></html>\n",
		"dates of a program": plain + "2024-05-01T10:00:01Z hello\n2024-05-01T10:00:02Z hello\n2024-05-01T10:00:03Z hello\n",
		"quotes of a shell":  plain + "> a\n> b\n> c\n",
		"dmesg -T":           strings.ReplaceAll(plain, "[    1.", "[Wed May  1 10:00:01 2024] 1."),
		"syslog":             before("May  1 10:00:01 host kernel: "),
		"nothing":            "",
		"one line":           "2024-05-01T10:00:01Z x\n",
		"a trace":            " foo+0x1/0x2\n bar+0x1/0x2\n baz+0x1/0x2\n",
	} {
		t.Run(name, func(t *testing.T) {
			if text, shapes := shape.Unwrap([]byte(log)); string(text) != log {
				t.Errorf("%q: %s", shapes, text)
			}
		})
	}
}

// FuzzUnwrap: any text is unwrapped, the same way each time, and into not much more:
// journald's messages get their prefix on each line.
func FuzzUnwrap(f *testing.F) {
	for _, s := range []string{
		plain, before("2024-05-01T10:00:01.1234567Z 00O "), before("> "), before("INFO: "), before("\t"), "\xff\xfe[\x00 \x001\x00",
		lines(func(l string) string { return `- {"lvl":"target","msg":"` + l + `\u001b"},` }),
		lines(func(l string) string { return `time=x level=debug vmconsole="` + l + `\x1b"` }),
		lines(func(l string) string { return "<span>" + l + "&lt;&#60;&nbsp;</span><br/>" }), `{"log":["` + plain + `"]}`, `a\n\x1\u00\n\n\n\n\n`,
		"__CURSOR=a\nMESSAGE=b\n\n__CURSOR=a\nMESSAGE=b\n\n__CURSOR=a\nMESSAGE=b\n\n", "section_start:1:a\r\x1b[0K\n", lines(func(l string) string { return l + "^M#033[0m[0;1m" }),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		was := bytes.Clone(log)
		text, _ := shape.Unwrap(log)
		if !bytes.Equal(log, was) {
			t.Fatal("the log was changed")
		}
		if len(text) > 64*len(log)+64 {
			t.Fatalf("%d bytes of %d", len(text), len(log))
		}
		again, _ := shape.Unwrap(log)
		if !bytes.Equal(again, text) {
			t.Fatal("two answers")
		}
	})
}
