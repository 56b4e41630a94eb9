// Package pages serves the history to a browser: kernels against cells, each failure,
// each run, boot times. Nothing can be changed through it. Its pages run no script and
// load nothing; what a guest printed gets into them by html/template alone.
package pages

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/history/compare"
	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/page"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/rundir"
)

//go:embed pages.css
var own string

//go:embed pages.tmpl
var source string

// maxText bounds each text of a page, in characters.
const maxText = 400

var templates = template.Must(template.New("pages").Funcs(template.FuncMap{
	"safe": func(v any) string { return report.Safe(fmt.Sprint(v), maxText) },
	"axes": func(cell string) []string { return strings.SplitN(cell, "/", 4) },
	"day":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
}).Parse(source))

// How much a page shows.
const (
	maxKernels  = 30
	maxFailures = 100
	maxRuns     = 100
	maxExamples = 20
	maxReleases = 50
	maxCharted  = 300 // runs
)

// Pages serves a history.
type Pages struct {
	// History is open as long as Pages serves.
	History *store.Store
	// Version is unwedge's.
	Version string
}

// Handler serves the pages to whom the Guard lets in.
func (p Pages) Handler(g Guard) http.Handler {
	mux := http.NewServeMux()
	for pattern, show := range map[string]func(*http.Request) (view, error){
		"GET /{$}": p.grid, "GET /failures": p.failures, "GET /failure/{id}": p.failure, "GET /runs": p.runs, "GET /times/{id}": p.times, "GET /compare": p.compare,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, show) })
	}
	mux.HandleFunc("GET /run/{id}", p.run)
	return g.wrap(mux)
}

// view is a page to be made: a template's name, and what it is given.
type view struct {
	Name, Title string
	Data        any
}

// errNotFound says that the history has no such thing.
var errNotFound = errors.New("the history has nothing of that number")

// answer makes a page, or says in one line why not.
func (p Pages) answer(w http.ResponseWriter, r *http.Request, show func(*http.Request) (view, error)) {
	v, err := show(r)
	if err != nil {
		p.fail(w, err)
		return
	}
	p.send(w, http.StatusOK, v)
}

func (p Pages) fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, errNotFound):
		code = http.StatusNotFound
	case errors.As(err, new(usage.Error)):
		code = http.StatusBadRequest
	}
	p.send(w, code, view{"error", "Error", report.Safe(err.Error(), maxText)})
}

func style() string { return page.Style() + own }

// policy forbids everything but the page's own style, and its one form.
func policy() string {
	sum := sha256.Sum256([]byte(style()))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

func (p Pages) send(w http.ResponseWriter, code int, v view) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, "page", struct {
		view
		Version string
		Style   template.CSS
	}{v, p.Version, template.CSS(style())}) //nolint:gosec // embedded, not a guest's
	if err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	write(w, code, policy(), &b)
}

func write(w http.ResponseWriter, code int, policy string, body io.WriterTo) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	w.WriteHeader(code)
	_, _ = body.WriteTo(w) // the reader has gone
}

// number is a number of the history's in a request.
func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errNotFound
	}
	return n, nil
}

// run is the report of one run, as `unwedge report --format html` makes it.
func (p Pages) run(w http.ResponseWriter, r *http.Request) {
	run, err := p.one(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, err)
		return
	}
	s, err := summary.Load([]string{filepath.Join(run.Dir, rundir.Result)}, nil)
	var b bytes.Buffer
	if err == nil {
		err = page.Write(&b, s, p.Version)
	}
	if err != nil { // its directory is gone: what the history has is left
		p.send(w, http.StatusOK, view{"gone", "Run", struct {
			store.Run
			Why string
		}{run, report.Safe(err.Error(), maxText)}})
		return
	}
	write(w, http.StatusOK, page.Policy()+"; frame-ancestors 'none'", &b)
}

func (p Pages) one(ctx context.Context, id string) (store.Run, error) {
	n, err := number(id)
	if err != nil || n == 0 {
		return store.Run{}, errNotFound
	}
	runs, err := p.History.Runs(ctx, store.Filter{ID: n, Limit: 1})
	if err == nil && len(runs) == 0 {
		err = errNotFound
	}
	if err != nil {
		return store.Run{}, err
	}
	return runs[0], nil
}

// runs lists the last runs of a kernel, a cell or both.
func (p Pages) runs(r *http.Request) (view, error) {
	f := store.Filter{Limit: maxRuns}
	q := r.URL.Query()
	for name, to := range map[string]*int64{"kernel": &f.Kernel, "cell": &f.Cell} {
		if q.Get(name) == "" {
			continue
		}
		n, err := number(q.Get(name))
		if err != nil {
			return view{}, err
		}
		*to = n
	}
	runs, err := p.History.Runs(r.Context(), f)
	if err == nil && len(runs) == 0 {
		err = errNotFound
	}
	return view{"runs", "Runs", runs}, err
}

func (p Pages) failures(r *http.Request) (view, error) {
	list, err := p.History.Failures(r.Context(), maxFailures)
	return view{"failures", "Failures", list}, err
}

// failure is what is known of one failure.
func (p Pages) failure(r *http.Request) (view, error) {
	id, err := number(r.PathValue("id"))
	if err != nil {
		return view{}, err
	}
	d := struct {
		store.Seen
		Kernels []store.KernelRate
		Runs    []store.Run
	}{}
	if d.Seen, err = p.History.Failure(r.Context(), id); errors.Is(err, store.ErrUnknown) {
		return view{}, errNotFound
	}
	if err == nil {
		d.Kernels, err = p.History.FailureByKernel(r.Context(), id, maxReleases)
	}
	if err == nil {
		d.Runs, err = p.History.Runs(r.Context(), store.Filter{Failure: id, Limit: maxExamples})
	}
	return view{"failure", d.Title, d}, err
}

// compare is what `unwedge compare` says, of two kernels that the form names.
func (p Pages) compare(r *http.Request) (view, error) {
	a, b := r.URL.Query().Get("a"), r.URL.Query().Get("b")
	c, err := compare.Kernels(r.Context(), p.History, a, b, 0.95)
	if err != nil {
		return view{}, err
	}
	var text bytes.Buffer
	if err := compare.Text(&text, c); err != nil {
		return view{}, err
	}
	return view{"compare", "Compare", struct{ A, B, Text string }{cmp.Or(a, compare.Last), cmp.Or(b, compare.Last), text.String()}}, nil
}
