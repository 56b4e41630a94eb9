// Package browser_test opens the pages of the formats' tests in Chromium: `make
// test-browser`.
package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/chromium"
)

// pages are golden pages of package formats: all cells, hostile ones among them, and the
// hostile boot alone, with its console.
var pages = []string{"../../formats/testdata/all.html", "../../formats/testdata/hostile.html"}

// open opens a file in the browser.
func open(t *testing.T, page string, args ...string) (dom, log string) {
	t.Helper()
	if os.Getenv(chromium.Variable) == "" {
		t.Skip("set " + chromium.Variable + " to the browser, or run make test-browser")
	}
	page, err := filepath.Abs(page)
	if err != nil {
		t.Fatal(err)
	}
	dom, log, err = chromium.Open(t.Context(), t.TempDir(), "file://"+page, args...)
	if err != nil {
		t.Fatal(err)
	}
	return dom, log
}

// A hostile guest's text runs nothing, loads nothing and breaks no policy, and the page's
// own style is applied.
func TestPageIsQuiet(t *testing.T) {
	for _, p := range pages {
		dom, log := open(t, p, "--dump-dom")
		if !strings.Contains(dom, "</footer>") {
			t.Fatalf("%s: no page: %.200s", p, dom)
		}
		for _, bad := range []string{"<script", "<img", "<iframe", "<base", "<svg onload", "javascript:alert(1)\">"} {
			if strings.Contains(dom, bad) {
				t.Errorf("%s: the browser found %q", p, bad)
			}
		}
		for l := range strings.Lines(log) {
			if strings.Contains(l, "CONSOLE") || strings.Contains(l, "Refused to") || strings.Contains(l, "Content Security Policy") {
				t.Errorf("%s: %s", p, l)
			}
		}
	}
}

// The policy stops a script that would get into the page all the same.
func TestPolicyStopsScripts(t *testing.T) {
	page := changed(t, func(s string) string {
		return strings.Replace(s, "</main>", `<script>document.title = "owned"</script><img src="https://example.org/x" onerror="document.title = 'owned'"></main>`, 1)
	})
	dom, log := open(t, page, "--dump-dom")
	if strings.Contains(dom, "<title>owned") {
		t.Error("the script ran")
	}
	if !strings.Contains(log, "Content Security Policy") {
		t.Errorf("the policy was not heard of:\n%s", log)
	}
}

var policy = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`)

// changed is a copy of the first page with a change.
func changed(t *testing.T, change func(string) string) string {
	t.Helper()
	b, err := os.ReadFile(pages[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte(change(string(b))), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// On a phone nothing is wider than the screen: what is scrolls by itself.
func TestPageFitsAPhone(t *testing.T) {
	measure := `<script>
	var wide = document.documentElement.scrollWidth, list = "";
	document.title = "measured " + wide + " " + innerWidth + " " + getComputedStyle(document.querySelector("h1")).overflowWrap;
	</script></body>`
	page := changed(t, func(s string) string { return strings.Replace(policy.ReplaceAllString(s, ""), "</body>", measure, 1) })
	for _, width := range []int{390, 500, 1100} {
		dom, _ := open(t, page, "--dump-dom", fmt.Sprintf("--window-size=%d,800", width))
		m := regexp.MustCompile(`<title>measured (\d+) (\d+) anywhere</title>`).FindStringSubmatch(dom)
		if m == nil {
			t.Fatalf("not measured: %.400s", dom)
		}
		page, _ := strconv.Atoi(m[1])   // digits
		window, _ := strconv.Atoi(m[2]) // digits
		if page > window {
			t.Errorf("at %d pixels the page has %d", window, page)
		}
	}
}

// UNWEDGE_SCREENSHOTS names a directory for pictures of the pages, to be looked at.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("UNWEDGE_SCREENSHOTS")
	if dir == "" {
		t.Skip("set UNWEDGE_SCREENSHOTS to a directory")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		for name, size := range map[string]string{"wide": "1100,2400", "phone": "390,2400"} {
			file := filepath.Join(dir, strings.TrimSuffix(filepath.Base(p), ".html")+"-"+name+".png")
			open(t, p, "--screenshot="+file, "--window-size="+size)
			if st, err := os.Stat(file); err != nil || st.Size() < 10_000 {
				t.Errorf("%s: no picture: %v", file, err)
			}
		}
	}
}
