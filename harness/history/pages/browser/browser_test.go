// Package browser_test opens the history's pages in Chromium: `make test-browser`.
package browser_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/history/pages"
	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/chromium"
	"github.com/unwedge/unwedge/harness/internal/sample"
	"github.com/unwedge/unwedge/harness/result"
)

// paths are the pages that are looked at.
var paths = []string{"/", "/failures", "/failure/1", "/runs", "/run/1", "/times/1", "/compare"}

const markup = `<script>document.title="owned"</script><img src="http://127.0.0.1/x" onerror="document.title='owned'">`

// served is a history of some hundred runs, with hostile text among them.
func served(t *testing.T) string {
	t.Helper()
	if os.Getenv(chromium.Variable) == "" {
		t.Skip("set " + chromium.Variable + " to the browser, or run make test-browser")
	}
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	add := func(r *result.Result) error { _, err := s.Record(t.Context(), r); return err }
	if err := add(sample.Boot{Release: "7.0.0" + markup, Cell: "tiny/x86_64/none/tiny" + markup, Hang: "hang/" + markup, At: sample.Begin}.Result()); err != nil {
		t.Fatal(err)
	}
	if err := sample.Many(600, add); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(pages.Pages{History: s, Version: "test"}.Handler(pages.Guard{}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func open(t *testing.T, url string, args ...string) (dom, log string) {
	t.Helper()
	dom, log, err := chromium.Open(t.Context(), t.TempDir(), url, args...)
	if err != nil {
		t.Fatal(err)
	}
	return dom, log
}

// Hostile text runs nothing, loads nothing and breaks no policy.
func TestPagesAreQuiet(t *testing.T) {
	url := served(t)
	for _, p := range paths {
		dom, log := open(t, url+p, "--dump-dom")
		if !strings.Contains(dom, "</footer>") {
			t.Fatalf("%s: no page: %.200s", p, dom)
		}
		for _, bad := range []string{"<script", "<img", "<title>owned"} {
			if strings.Contains(dom, bad) {
				t.Errorf("%s: the browser found %q", p, bad)
			}
		}
		for l := range strings.Lines(log) {
			if strings.Contains(l, "CONSOLE") && !strings.Contains(l, "favicon.ico") || strings.Contains(l, "Refused to") || strings.Contains(l, "Content Security Policy") {
				t.Errorf("%s: %s", p, l)
			}
		}
	}
}

// On a phone nothing is wider than the screen: what is scrolls by itself.
func TestPagesFitAPhone(t *testing.T) {
	url := served(t)
	measure := `<script>document.title = "measured " + document.documentElement.scrollWidth + " " + innerWidth + " " + getComputedStyle(document.querySelector("h1")).overflowWrap;</script></body>`
	for _, p := range paths {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+p, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "page.html") // the policy is a header of the server's, so that the script runs here
		if err := os.WriteFile(file, []byte(strings.Replace(string(b), "</body>", measure, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{390, 1100} {
			dom, _ := open(t, "file://"+file, "--dump-dom", fmt.Sprintf("--window-size=%d,800", width))
			m := regexp.MustCompile(`<title>measured (\d+) (\d+) anywhere</title>`).FindStringSubmatch(dom)
			if m == nil {
				t.Fatalf("%s: not measured: %.400s", p, dom)
			}
			page, _ := strconv.Atoi(m[1])   // digits
			window, _ := strconv.Atoi(m[2]) // digits
			if page > window {
				t.Errorf("%s: at %d pixels the page has %d", p, window, page)
			}
		}
	}
}

// UNWEDGE_SCREENSHOTS names a directory for pictures of the pages, to be looked at.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("UNWEDGE_SCREENSHOTS")
	if dir == "" {
		t.Skip("set UNWEDGE_SCREENSHOTS to a directory")
	}
	url := served(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		for name, size := range map[string]string{"wide": "1100,900", "phone": "390,900"} {
			file := filepath.Join(dir, "history"+strings.ReplaceAll(p, "/", "-")+"-"+name+".png")
			open(t, url+p, "--screenshot="+file, "--window-size="+size)
			if st, err := os.Stat(file); err != nil || st.Size() < 5_000 {
				t.Errorf("%s: no picture: %v", file, err)
			}
		}
	}
}
