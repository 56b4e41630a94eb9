package dump

import "strings"

// trustyMessage is the words of a panic of Trusty, the system in the secure world:
//
//	trusty: panic (caller 0xffff00000001ef2c): DEBUG ASSERT FAILED at (demo.c:56): m->magic == 1
func trustyMessage(text string) string {
	_, msg, ok := strings.Cut(text, "): ")
	if !ok {
		return "panic"
	}
	const failed = "ASSERT FAILED at ("
	rest := strings.TrimPrefix(msg, "DEBUG ")
	if !strings.HasPrefix(rest, failed) {
		return "panic: " + Normalise(msg)
	}
	if _, cond, ok := strings.Cut(rest, "): "); ok {
		return "ASSERT FAILED: " + Normalise(cond)
	}
	return "ASSERT FAILED"
}
