package mirror

import (
	"errors"
	"testing"
	"testing/fstest"
)

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"one line": {map[string]string{
			"sources.list": "# deb http://old.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k] http://one.example/debian bookworm main contrib\n",
		}, "http://one.example/debian"},
		"deb822, continued": {map[string]string{
			"sources.list.d/debian.sources": "Types: deb deb-src\n# note\nURIs: https://two.example/debian\nSuites:\n bookworm\n bookworm-updates\nComponents: main\n",
		}, "https://two.example/debian"},
		"disabled": {map[string]string{
			"sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n\n" +
				"Types: deb\nURIs: http://on.example\nSuites: bookworm\nComponents: main\n",
		}, "http://on.example"},
		"the very suite wins": {map[string]string{
			"sources.list": "deb http://first.example trixie main\ndeb http://second.example bookworm main\n",
		}, "http://second.example"},
		"another Debian suite serves": {map[string]string{
			"sources.list": "deb http://sec.example trixie-security main\ndeb http://third.example trixie main\n",
		}, "http://third.example"},
		"strangers, sources and media": {map[string]string{
			"sources.list": "deb-src http://src.example bookworm main\ndeb cdrom:[x]/ bookworm main\ndeb file:///srv/debian bookworm main\n" +
				"deb http://vendor.example stable-x main\ndeb http://other.example bookworm contrib\ndeb [broken http://x.example bookworm main\n",
		}, ""},
		"nothing": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			etc := fstest.MapFS{}
			for path, text := range c.files {
				etc[path] = &fstest.MapFile{Data: []byte(text)}
			}
			got, err := Find(etc, "bookworm")
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
			if c.want == "" && !errors.Is(err, ErrNone) {
				t.Errorf("error %v, want ErrNone", err)
			}
		})
	}
}

func TestEnvironmentWins(t *testing.T) {
	t.Setenv(Env, "http://chosen.example/debian")
	if got, err := Host("bookworm"); err != nil || got != "http://chosen.example/debian" {
		t.Errorf("%q, %v", got, err)
	}
}
