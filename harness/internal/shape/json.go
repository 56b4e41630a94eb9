package shape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// textKeys are the fields that hold console text, the surest first: Kata's
// vmconsole, docker's log, journald's MESSAGE, LAVA's and KubeVirt's msg, AWS's
// Output, GCP's contents.
var textKeys = []string{"vmconsole", "log", "MESSAGE", "msg", "message", "Output", "output", "contents", "line", "text", "console", "textPayload", "body"}

// entry is one JSON object or logfmt line of a log.
type entry map[string]any

// text is the console text of an entry. Where ok is false it has none; where it is
// true and the text empty, the entry is not of the console.
func (e entry) text() (s string, ok bool) {
	for _, k := range textKeys {
		v, ok := e[k].(string)
		if !ok {
			continue
		}
		if lvl, _ := e["lvl"].(string); k == "msg" && lvl != "" && lvl != "target" {
			return "", true // LAVA's own words
		}
		if k == "MESSAGE" {
			return e.journal(v), true
		}
		return v, true
	}
	if m, ok := e["MESSAGE"].([]any); ok { // journald: one that is not UTF-8
		b := make([]byte, 0, len(m))
		for _, x := range m {
			n, _ := x.(float64)
			b = append(b, byte(n))
		}
		return e.journal(string(b)), true
	}
	return "", false
}

// journal gives an entry of journald in the form of `journalctl -o short-monotonic`
// without the host.
func (e entry) journal(message string) string {
	field := func(k string) string { s, _ := e[k].(string); return s }
	head := ""
	stamp := field("_SOURCE_MONOTONIC_TIMESTAMP")
	if stamp == "" {
		stamp = field("__MONOTONIC_TIMESTAMP")
	}
	if us, err := strconv.ParseUint(stamp, 10, 63); err == nil {
		head = fmt.Sprintf("[%5d.%06d] ", us/1e6, us%1e6)
	}
	name := field("SYSLOG_IDENTIFIER")
	if name == "" {
		name = field("_COMM")
	}
	if field("_TRANSPORT") != "kernel" && name != "kernel" && name != "" {
		pid := field("_PID")
		if pid == "" {
			pid = "0"
		}
		head += name[:min(len(name), 64)] + "[" + pid[:min(len(pid), 10)] + "]: "
	}
	return head + strings.ReplaceAll(message, "\n", "\n"+head)
}

// jsonPart is the JSON object of a line: also as an element of a YAML list or of an
// array, and behind a name such as that of docker compose.
func jsonPart(line []byte) []byte {
	line = bytes.TrimSpace(line)
	i := bytes.IndexByte(line, '{')
	if i < 0 || i > 100 || i+1 < len(line) && line[i+1] != '"' && line[i+1] != ' ' {
		return nil
	}
	return bytes.TrimRight(bytes.TrimSuffix(line[i:], []byte(",")), "]")
}

func parseEntry(line []byte) (entry, bool) {
	part := jsonPart(line)
	if part == nil {
		return nil, false
	}
	var e entry
	if json.Unmarshal(part, &e) != nil {
		return nil, false
	}
	return e, true
}

func isJSON(s sample) bool {
	return s.most(func(l []byte) bool {
		e, ok := parseEntry(l)
		if ok {
			_, ok = e.text()
		}
		return ok
	})
}

// jsonLine: docker gives the console's own line feeds, so that a line may come in
// pieces. Other writers give lines.
func jsonLine(out, line []byte, end string) []byte {
	e, ok := parseEntry(line)
	if !ok {
		return append(append(out, line...), end...)
	}
	s, ok := e.text()
	if !ok || s == "" {
		if lvl, _ := e["lvl"].(string); lvl == "" || lvl == "target" {
			return append(out, end...)
		}
		return out
	}
	if _, docker := e["log"].(string); docker && e["stream"] != nil {
		return append(out, s...)
	}
	return append(append(out, strings.TrimRight(s, "\r\n")...), end...)
}

// isDocument: one JSON value that is not on one line each.
func isDocument(s sample) bool {
	head := bytes.TrimSpace(s.head)
	return len(head) > 1 && (head[0] == '{' || head[0] == '[' && (head[1] == '{' || head[1] == '"' || head[1] == '\n' || head[1] == '\r' || head[1] == ' ')) &&
		!isJSON(s) && bytes.IndexByte(head, '"') > 0 && !isKernelStamp(head)
}

// fromDocument gives the console text of a JSON document: of all fields that may
// hold it, in order.
func fromDocument(log []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(log))
	var out []byte
	for {
		var v any
		if err := d.Decode(&v); err != nil {
			break
		}
		out = appendTexts(out, v, 0)
	}
	if d.InputOffset()*10 < int64(len(log))*9 || len(out)*4 < len(log) {
		return log // no JSON, or little of it is text
	}
	return out
}

func appendTexts(out []byte, v any, depth int) []byte {
	if depth > 8 {
		return out
	}
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(append(out, strings.TrimRight(s, "\r\n")...), '\n')
				continue
			}
			out = appendTexts(out, x, depth+1)
		}
	case map[string]any:
		if s, ok := entry(v).text(); ok {
			if s != "" {
				out = append(append(out, strings.TrimRight(s, "\r\n")...), '\n')
			}
			return out
		}
		for _, k := range []string{"logs", "log", "results", "entries", "lines", "items", "data", "content"} {
			if x, ok := v[k]; ok {
				out = appendTexts(out, x, depth+1)
			}
		}
	}
	return out
}

// logfmtText finds `vmconsole="..."` or the like in a line of key=value pairs.
func logfmtText(line []byte) (string, bool) {
	for _, k := range textKeys {
		key := k + "=\""
		i := bytes.Index(line, []byte(key))
		if i < 0 || i > 0 && line[i-1] != ' ' {
			continue
		}
		q := line[i+len(key)-1:]
		e := 1
		for e < len(q) && q[e] != '"' {
			if q[e] == '\\' {
				e++
			}
			e++
		}
		if e >= len(q) {
			return "", false
		}
		s, err := strconv.Unquote(string(q[:e+1]))
		if err != nil {
			s = string(unescape(nil, q[1:e]))
		}
		return s, true
	}
	return "", false
}

// isLogfmt: most lines have another pair besides the text's.
func isLogfmt(s sample) bool {
	return s.most(func(l []byte) bool {
		if _, ok := logfmtText(l); !ok {
			return false
		}
		return bytes.Contains(l, []byte("level=")) || bytes.Contains(l, []byte("time=")) || bytes.Contains(l, []byte("ts=")) || bytes.Contains(l, []byte("vmconsole="))
	})
}

func logfmtLine(out, line []byte, end string) []byte {
	s, ok := logfmtText(line)
	if !ok {
		s = string(line)
	}
	return append(append(out, strings.TrimRight(s, "\r\n")...), end...)
}

// isExport: `journalctl -o export` (systemd's Journal Export Format).
func isExport(s sample) bool {
	return s.count(func(l []byte) bool { return bytes.HasPrefix(l, []byte("__CURSOR=")) }) >= 3 &&
		s.count(func(l []byte) bool { return bytes.HasPrefix(l, []byte("MESSAGE=")) }) >= 3
}

func fromExport(log []byte) []byte {
	out := make([]byte, 0, len(log)/4)
	e := entry{}
	flush := func() {
		if m, ok := e["MESSAGE"].(string); ok {
			out = append(append(out, e.journal(m)...), '\n')
		}
		clear(e)
	}
	for len(log) > 0 {
		line, n := firstLine(log)
		log = log[n:]
		if len(line) == 0 {
			flush()
			continue
		}
		if k, v, ok := bytes.Cut(line, []byte("=")); ok && len(k) < 64 && len(e) < 200 {
			e[string(k)] = string(v)
		}
	}
	flush()
	return out
}
