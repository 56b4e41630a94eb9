package boot

import "testing"

func TestAfter(t *testing.T) {
	const log = "[ 1.0] a\n[ 2.0] b\n[ 3.0] c\n"
	for last, want := range map[string]string{
		"[ 1.0] a": "[ 2.0] b\n[ 3.0] c\n", "[ 3.0] c": "", "[ 0.5] gone": log, "0] b": log,
	} {
		if got := string(after([]byte(log), []byte(last))); got != want {
			t.Errorf("after %q: %q, want %q", last, got, want)
		}
	}
	if got := string(after([]byte(log), nil)); got != log {
		t.Errorf("at first: %q", got)
	}
}
