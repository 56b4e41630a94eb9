package pages

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/sample"
	"github.com/unwedge/unwedge/harness/rundir"
)

const markup = `<script>alert(1)</script><img src=x onerror=alert(2)>`

// served is a history of a few runs, one of which has its directory, and hostile text.
func served(t *testing.T, g Guard) http.Handler {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), filepath.Join(dir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i, b := range []sample.Boot{
		{Release: "6.1.0", Cell: "tiny/x86_64/none/tiny"},
		{Release: "7.3.0" + markup, Cell: "tiny/x86_64/none/tiny" + markup, Hang: "hang/" + markup},
		{Release: "7.3.0", Cell: "tiny/x86_64/none/tiny", Hang: "hang/mutex/demo"},
	} {
		b.At = sample.Begin.Add(time.Duration(i) * time.Minute)
		r := b.Result()
		if i == 2 {
			r.Dir = filepath.Join(dir, "run")
			if err := os.Mkdir(r.Dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := r.Write(rundir.Result); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Record(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return Pages{s, "v1"}.Handler(g)
}

func get(h http.Handler, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8080"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	h := served(t, Guard{})
	for path, want := range map[string]string{
		"/":                        `href="/runs?kernel=3&amp;cell=1"><b>1 of 1 fail</b>`,
		"/failures":                `<a href="/failure/2">hang: hang/mutex/demo</a>`,
		"/failure/2":               "21 to 100 %",
		"/runs":                    `<a href="/run/3">`,
		"/runs?kernel=1":           "6.1.0",
		"/runs?kernel=3&cell=1":    "hang: hang/mutex/demo",
		"/run/3":                   "Made by unwedge",
		"/run/1":                   "directory cannot be read",
		"/run/2":                   "directory cannot be read",
		"/times/1":                 "<polyline",
		"/compare":                 "May be new",
		"/compare?a=6.1.0&b=7.3.0": "A: 6.1.0",
		"/failure/1":               "&lt;script&gt;",
		"/?skip=1":                 "the latest kernels",
		"/compare?b=%3Cscript%3E":  "&lt;script&gt;",
	} {
		w := get(h, path)
		body := w.Body.String()
		code := http.StatusOK
		if strings.Contains(path, "%3C") {
			code = http.StatusBadRequest
		}
		if w.Code != code || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %q in %s", path, w.Code, want, body[max(0, strings.Index(body, "<body")):])
		}
		for _, bad := range []string{"<script", "<img", "onerror=alert(2)>"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: %s", path, bad)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	for _, path := range []string{"/failure/99", "/failure/x", "/run/0", "/run/-1", "/runs?kernel=99", "/times/99", "/nothing", "/run/../../etc/passwd", "/?skip=-1"} {
		if w := get(h, path); w.Code != http.StatusNotFound && w.Code != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Nobody gets in who should not, and nothing can be written.
func TestGuard(t *testing.T) {
	open, closed := served(t, Guard{}), served(t, Guard{Token: "secret"})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for _, c := range []struct {
		what   string
		h      http.Handler
		path   string
		change func(*http.Request)
		want   int
	}{
		{"localhost", open, "/", host("localhost:8080"), http.StatusOK},
		{"IPv6 loopback", open, "/", host("[::1]:8080"), http.StatusOK},
		{"a name that points here", open, "/", host("evil.example"), http.StatusForbidden},
		{"a post", open, "/", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		{"no token", closed, "/", host("box:8080"), http.StatusUnauthorized},
		{"a wrong token", closed, "/?token=x", host("box:8080"), http.StatusUnauthorized},
		{"an empty token", closed, "/?token=", host("box:8080"), http.StatusUnauthorized},
		{"the token", closed, "/?token=secret", host("box:8080"), http.StatusSeeOther},
		{"a bearer's token", closed, "/", func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret") }, http.StatusOK},
		{"the cookie", closed, "/", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookie, Value: "secret"}) }, http.StatusOK},
	} {
		w := get(c.h, c.path, c.change)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.what, w.Code, c.want)
		}
		if c.want == http.StatusSeeOther && (w.Header().Get("Location") != "/" || !strings.Contains(w.Header().Get("Set-Cookie"), "HttpOnly; SameSite=Strict")) {
			t.Errorf("%s: %v", c.what, w.Header())
		}
	}
	if w := get(closed, "//evil.example/?token=secret"); w.Header().Get("Location") != "/evil.example/" {
		t.Errorf("sent to %q", w.Header().Get("Location"))
	}
	for listen, want := range map[string]bool{"127.0.0.1:8080": true, "localhost:0": true, "[::1]:80": true, ":8080": false, "0.0.0.0:80": false, "192.0.2.1:80": false, "box:80": false} {
		if Loopback(listen) != want {
			t.Errorf("%s: %v", listen, !want)
		}
	}
}

func TestStep(t *testing.T) {
	for top, want := range map[float64]float64{12: 2, 0.9: 0.2, 100: 20, 0: 1, 61: 20, 25: 5} {
		if got := niceStep(top); got != want {
			t.Errorf("%g: %g", top, got)
		}
	}
}
