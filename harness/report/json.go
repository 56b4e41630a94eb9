package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// JSON prints a value as JSON, indented, and safe for a terminal.
func JSON(w io.Writer, v any) error { return printJSON(w, v, "  ") }

// JSONLine prints a value as JSON on one line, safe for a terminal.
func JSONLine(w io.Writer, v any) error { return printJSON(w, v, "") }

func printJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", indent)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	if err == nil {
		_, err = io.WriteString(w, escapeUnseen(b.String()))
	}
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// escapeUnseen writes characters that are not graphic as JSON's \u (RFC 8259, section
// 7). The encoder leaves DEL, the C1 controls (U+009B begins an escape sequence) and
// bidirectional controls as they are. JSON has none of them outside strings.
func escapeUnseen(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x7f || unicode.IsGraphic(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
