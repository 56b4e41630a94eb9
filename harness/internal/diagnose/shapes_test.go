package diagnose

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

var someShapes = flag.String("shapes", "", "test the shapes with this in their name, or all, with every log")

// tried says whether a log is put into a shape: one in twelve is, always the same; -shapes all tries every pair.
func tried(shape, log string) bool {
	switch *someShapes {
	case "":
		h := fnv.New32a()
		h.Write([]byte(shape + "/" + log))
		return h.Sum32()%12 == 0
	case "all":
		return true
	}
	return strings.Contains(shape, *someShapes)
}

// stampedLine is a line of the kernel: its level, stamp and caller, and the text.
var stampedLine = regexp.MustCompile(`^(<\d+>)?\[ *(\d+)\.(\d{6})\](\[ *[TC]\d+\])? ?(.*)$`)

// each makes a shape of what is done with every line. n counts the lines.
func each(one func(n int, line string) string) func(string) string {
	return func(log string) string {
		var b strings.Builder
		for i, line := range strings.Split(strings.TrimSuffix(log, "\n"), "\n") {
			b.WriteString(one(i, strings.TrimSuffix(line, "\r")))
			b.WriteByte('\n')
		}
		return b.String()
	}
}

// stamped makes a shape of what is done with the kernel's own lines; those of others
// stay as they are.
func stamped(one func(at time.Duration, caller, text string) string) func(string) string {
	return each(func(_ int, line string) string {
		m := stampedLine.FindStringSubmatch(line)
		if m == nil {
			return line
		}
		sec, _ := strconv.Atoi(m[2])
		usec, _ := strconv.Atoi(m[3])
		return one(time.Duration(sec)*time.Second+time.Duration(usec)*time.Microsecond, m[4], m[5])
	})
}

// dated makes a shape of a date before every line.
func dated(layout string) func(string) string {
	start := time.Date(2024, 5, 1, 10, 0, 1, 123456700, time.UTC)
	return each(func(n int, line string) string {
		return start.Add(time.Duration(n)*1234*time.Microsecond).Format(layout) + line
	})
}

func quotedJSON(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func utf16Text(big bool) func(string) string {
	return func(log string) string {
		var b bytes.Buffer
		for _, u := range utf16.Encode([]rune("\ufeff" + log)) {
			if big {
				b.Write([]byte{byte(u >> 8), byte(u)})
			} else {
				b.Write([]byte{byte(u), byte(u >> 8)})
			}
		}
		return b.String()
	}
}

// folded wraps each line at the last blank before a column, as mail programs do.
func folded(width int) func(string) string {
	return each(func(_ int, line string) string {
		var out []string
		for len(line) > width {
			i := strings.LastIndexByte(line[:width+1], ' ')
			if i <= 0 || strings.TrimSpace(line[:i]) == "" {
				break
			}
			out = append(out, strings.TrimRight(line[:i], " "))
			line = strings.TrimLeft(line[i:], " ")
		}
		return strings.Join(append(out, line), "\n")
	})
}

func journal(at time.Duration) string { return fmt.Sprintf("%d", at.Microseconds()) }

// pastedShapes are the shapes in which people paste a log.
var pastedShapes = []struct {
	name string
	make func(string) string
}{
	{"as it is", func(s string) string { return s }},
	{"GitHub Actions", dated("2006-01-02T15:04:05.0000000Z ")},
	{"GitLab", func(log string) string {
		return "section_start:1714557601:boot\r\x1b[0K\x1b[0KBoot\n" + dated("2006-01-02T15:04:05.000000Z 00O ")(log) + "section_end:1714557700:boot\r\x1b[0K\n"
	}},
	{"Kubernetes CRI", dated("2006-01-02T15:04:05.000000000Z stdout F ")},
	{"Jenkins", dated("[2006-01-02T15:04:05.000Z] ")},
	{"time of day", dated("15:04:05.000 ")},
	{"ts", dated("Jan 02 15:04:05 ")},
	{"ts with a year", dated("Mon Jan _2 15:04:05 2006 ")},
	{"ISO date", dated("2006-01-02T15:04:05+00:00 ")},
	{"Python's logging", dated("2006-01-02 15:04:05,000 INFO  console: ")},
	{"pexpect", each(func(_ int, l string) string { return "b" + strconv.QuoteToASCII(l+"\r\n") })},
	{"docker compose", each(func(_ int, l string) string { return "guest-1  | " + l })},
	{"grep -n", each(func(n int, l string) string { return fmt.Sprintf("%d:%s", n+1, l) })},
	{"syslog", stamped(func(at time.Duration, c, text string) string {
		return fmt.Sprintf("May  1 10:00:01 host kernel: [%5d.%06d]%s %s", int(at.Seconds()), at.Microseconds()%1e6, c, text)
	})},
	{"syslog with ISO dates", stamped(func(at time.Duration, c, text string) string {
		return fmt.Sprintf("2024-05-01T10:00:01.123456+00:00 host kernel: [%5d.%06d]%s %s", int(at.Seconds()), at.Microseconds()%1e6, c, text)
	})},
	{"journalctl -o short-monotonic", stamped(func(at time.Duration, _, text string) string {
		return fmt.Sprintf("[%5d.%06d] host kernel: %s", int(at.Seconds()), at.Microseconds()%1e6, text)
	})},
	{"journalctl -o short-full", stamped(func(_ time.Duration, _, text string) string {
		return "Wed 2024-05-01 10:00:01 UTC host kernel: " + text
	})},
	{"journalctl -o json", stamped(func(at time.Duration, _, text string) string {
		return `{"_TRANSPORT":"kernel","__MONOTONIC_TIMESTAMP":"` + journal(at) + `","SYSLOG_IDENTIFIER":"kernel","MESSAGE":` + quotedJSON(text) + `}`
	})},
	{"dmesg -T", stamped(func(at time.Duration, c, text string) string {
		return time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC).Add(at).Format("[Mon Jan _2 15:04:05 2006]") + strings.Replace(c, "[", " [", 1) + " " + text
	})},
	{"dmesg -H", relative},
	{"dmesg --color", stamped(func(at time.Duration, c, text string) string {
		return fmt.Sprintf("\x1b[32m[%5d.%06d]%s \x1b[0m\x1b[33m%s\x1b[0m", int(at.Seconds()), at.Microseconds()%1e6, c, text)
	})},
	{"colours that lost their escape", each(func(_ int, l string) string {
		return "[32m" + strings.ReplaceAll(l, "\x1b", "") + "[0m"
	})},
	{"dmesg's caller column", stamped(func(at time.Duration, _, text string) string {
		return fmt.Sprintf("[%5d.%06d] [      T1] %s", int(at.Seconds()), at.Microseconds()%1e6, text)
	})},
	{"UTF-16 LE", utf16Text(false)},
	{"UTF-16 BE", utf16Text(true)},
	{"LAVA", each(func(_ int, l string) string {
		return `{"dt": "2024-05-01T10:00:00.000001", "lvl": "target", "msg": ` + quotedJSON(l) + `}`
	})},
	{"LAVA as YAML", each(func(n int, l string) string {
		if n%50 == 0 {
			return `- {"dt": "2024-05-01T10:00:00.000001", "lvl": "debug", "msg": "Kernel panic - not syncing: of the lab"}` + "\n" + `- {"dt": "x", "lvl": "target", "msg": ` + quotedJSON(l) + `}`
		}
		return `- {"dt": "2024-05-01T10:00:00.000001", "lvl": "target", "msg": ` + quotedJSON(l) + `}`
	})},
	{"docker", each(func(_ int, l string) string {
		return `{"log":` + quotedJSON(l+"\r\n") + `,"stream":"stdout","time":"2024-05-01T10:00:00.000001Z"}`
	})},
	{"one JSON document", func(log string) string {
		return "{\n  \"InstanceId\": \"i-0\",\n  \"Output\": " + quotedJSON(log) + "\n}\n"
	}},
	{"Kata", each(func(_ int, l string) string {
		return `time="2024-05-01T10:00:00.000001Z" level=debug msg="reading guest console" console-protocol=unix source=virtcontainers vmconsole=` + strconv.Quote(l)
	})},
	{"KubeVirt", each(func(_ int, l string) string {
		return `{"component":"guest-console-log","level":"info","msg":` + quotedJSON(l) + `,"pos":"log.go:40","timestamp":"2024-05-01T10:00:00.000001Z"}`
	})},
	{"logfmt", each(func(_ int, l string) string { return `ts=2024-05-01T10:00:00Z level=info msg=` + strconv.Quote(l) })},
	{"HTML", func(log string) string {
		return "<html><body><pre>\n" + each(func(n int, l string) string {
			return fmt.Sprintf(`<span class="line" id="L%d">%s</span>`, n, html.EscapeString(l))
		})(log) + "</pre></body></html>\n"
	}},
	{"HTML with <br>", each(func(_ int, l string) string { return html.EscapeString(l) + "<br>" })},
	{"HTML without tags", each(func(_ int, l string) string { return html.EscapeString(l) })},
	{"carriage returns", each(func(_ int, l string) string { return l + "\r" })},
	{"^M", each(func(_ int, l string) string { return strings.ReplaceAll(l, "\x1b", "^[") + "^M" })},
	{"quoted", each(func(_ int, l string) string { return strings.TrimRight("> "+l, " ") })},
	{"quoted twice", each(func(_ int, l string) string { return strings.TrimRight(">> "+l, " ") })},
	{"indented", each(func(_ int, l string) string { return "    " + l })},
	{"no-break spaces", func(log string) string { return strings.ReplaceAll(log, " ", "\u00a0") }},
	{"blanks collapsed", each(func(_ int, l string) string { return strings.Join(strings.Fields(l), " ") })},
	{"wrapped at 72", folded(72)},
	{"wrapped at 72 and quoted", func(log string) string {
		return each(func(_ int, l string) string { return "> " + l })(folded(72)(log))
	}},
	{"wrapped at 80 by a terminal", each(func(_ int, l string) string {
		var out []string
		for len(l) > 80 {
			out, l = append(out, l[:80]), l[80:]
		}
		return strings.Join(append(out, l), "\n")
	})},
	{"cut at 80", each(func(_ int, l string) string { return l[:min(len(l), 80)] })},
	{"GitHub Actions, quoted", func(log string) string {
		return each(func(_ int, l string) string { return "> " + l })(dated("2006-01-02T15:04:05.0000000Z ")(log))
	}},
}

// relative is `dmesg -H`.
func relative(log string) string {
	last := time.Duration(-1)
	return stamped(func(at time.Duration, c, text string) string {
		head := "[May 1 10:00]"
		if last >= 0 && at/time.Minute == last/time.Minute {
			d := max(0, at-last)
			head = fmt.Sprintf("[%+4d.%06d]", int(d.Seconds()), d.Microseconds()%1e6)
		}
		last = at
		return head + strings.Replace(c, "[", " [", 1) + " " + text
	})(log)
}

// TestShapes puts every log of testdata into every shape. The cause must be that of
// the log as it is, in 99 of 100.
func TestShapes(t *testing.T) {
	type rate struct{ same, all int }
	rates := make([]rate, len(pastedShapes))
	var mu sync.Mutex
	var wrong []string
	t.Run("logs", func(t *testing.T) {
		for _, path := range allLogs(t) {
			name := filepath.Base(path)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				log := strings.ToValidUTF8(string(b), "?") // what a paste can hold
				if strings.Count(log, "\n") < 5 {
					t.Skip("a shape is detected from many lines")
				}
				want := Explain([]byte(log)).Cause
				for i, s := range pastedShapes {
					if !tried(s.name, name) {
						continue
					}
					got := Explain([]byte(s.make(log)))
					mu.Lock()
					rates[i].all++
					if got.Cause == want {
						rates[i].same++
					} else {
						wrong = append(wrong, fmt.Sprintf("%s, %s: %s, want %s", s.name, name, got.Cause, want))
					}
					mu.Unlock()
				}
			})
		}
	})
	same, all := 0, 0
	var table strings.Builder
	for i, s := range pastedShapes {
		fmt.Fprintf(&table, "%-32s %d of %d\n", s.name, rates[i].same, rates[i].all)
		same, all = same+rates[i].same, all+rates[i].all
	}
	t.Logf("the same cause in %d of %d\n%s", same, all, table.String())
	if same*100 < all*99 {
		t.Errorf("the same cause in %d of %d only:\n%s", same, all, strings.Join(wrong, "\n"))
	} else {
		t.Logf("others:\n%s", strings.Join(wrong, "\n"))
	}
}
