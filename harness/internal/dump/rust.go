package dump

import (
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// A panic of the kernel's Rust code: the place, the message on the next line (the same
// line before Rust 1.73), and then a BUG() of rust_helper_BUG (rust/kernel/lib.rs).
const rustPanic = "rust_kernel: panicked at "

func isRustPanic(text string) bool { return strings.HasPrefix(text, rustPanic) }

// rustMessage is what a Rust panic says.
func rustMessage(r *Report) string {
	if _, rest, ok := strings.Cut(r.Text, " '"); ok {
		msg, _, _ := strings.Cut(rest, "'")
		return Normalise(msg)
	}
	return orElse(Normalise(r.said.message), "Rust panic")
}

// rustName is the readable name of a Rust function, others as they are. Its length is
// bounded as a guest can make names that expand.
func rustName(fn string) string {
	if !strings.HasPrefix(fn, "_R") {
		return fn
	}
	const pow = 9 // 2^9 bytes
	name, err := demangle.ToString(fn, demangle.NoParams, demangle.MaxLength(pow))
	if err != nil {
		return fn
	}
	return name
}
