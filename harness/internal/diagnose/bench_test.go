package diagnose

import (
	"bytes"
	"os"
	"testing"
)

// BenchmarkExplain explains whole logs: what guests printed until a hang or a crash,
// made long by what a boot prints, and one of many small reports.
func BenchmarkExplain(b *testing.B) {
	const size = 10 << 20
	boot, err := os.ReadFile("../dump/testdata/real/6.12-amd64-getrandom.log")
	if err != nil {
		b.Fatal(err)
	}
	crash, err := os.ReadFile("../dump/testdata/real/6.12-amd64-crash-user.log")
	if err != nil {
		b.Fatal(err)
	}
	chatter := bytes.Repeat([]byte("[   12.345678] demo 0000:00:03.0: link becomes ready, 1000 Mb/s full duplex\n"), 1000)
	for _, bm := range []struct {
		name string
		part []byte
	}{
		{"whole", append(append([]byte{}, boot...), chatter...)},
		{"dumps", boot},
		{"reports", crash},
		{"GitHubActions", []byte(dated("2006-01-02T15:04:05.0000000Z ")(string(boot) + string(chatter)))},
	} {
		log := bytes.Repeat(bm.part, 1+size/len(bm.part))
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			for b.Loop() {
				Explain(log)
			}
		})
	}
}
