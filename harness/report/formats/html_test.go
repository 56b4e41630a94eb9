package formats_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
)

// elements are all that a page may have, and attributes all that an element may.
var (
	elements = words("html head meta title style body main header footer article section details summary h1 h2 p b i br a span code pre div ul li table thead tbody tr th td " +
		"svg g rect circle line polygon polyline text")
	attributes = words("lang charset http-equiv content name class id open href title viewbox viewBox role aria-label " +
		"x y x1 x2 y1 y2 cx cy r rx width height points transform preserveaspectratio preserveAspectRatio")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// walk calls f with each node of a page.
func walk(n *html.Node, f func(*html.Node)) {
	f(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, f)
	}
}

func parse(t *testing.T, text string) *html.Node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shape is a page without its texts and the values of its attributes.
func shape(t *testing.T, text string) string {
	var b strings.Builder
	walk(parse(t, text), func(n *html.Node) {
		if n.Type == html.ElementNode {
			b.WriteString(n.Data)
			for _, a := range n.Attr {
				b.WriteString(" " + a.Key)
			}
			b.WriteByte('\n')
		} else if n.Type == html.CommentNode {
			b.WriteString("comment\n")
		}
	})
	return b.String()
}

// No element, attribute or link of a page is a guest's.
func TestHTMLGuestsMakeNoMarkup(t *testing.T) {
	walk(parse(t, write(t, "html", all())), func(n *html.Node) {
		if n.Type == html.CommentNode {
			t.Errorf("a comment: %.80q", n.Data)
		}
		if n.Type != html.ElementNode {
			return
		}
		if !elements[n.Data] {
			t.Errorf("element %q", n.Data)
		}
		for _, a := range n.Attr {
			if !attributes[a.Key] {
				t.Errorf("attribute %s=%.60q of %s", a.Key, a.Val, n.Data)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#c") {
				t.Errorf("a link to %.60q", a.Val)
			}
			if a.Key == "id" && !strings.HasPrefix(a.Val, "c") {
				t.Errorf("id %.60q", a.Val)
			}
		}
	})
}

// The page of a hostile boot has the same elements and attributes as that of a boot with
// plain words in the same places.
func TestHTMLHostileAndPlainHaveOneShape(t *testing.T) {
	nastyCell := summary.OfResult(hostile(), "")
	plain := strings.NewReplacer(jsonOf(nasty), "plain", `init-waits/`, `init-waits/`)
	s := write(t, "json", summary.Of([]summary.Cell{nastyCell}))
	other, err := summary.Load([]string{"-"}, strings.NewReader(plain.Replace(s)))
	if err != nil {
		t.Fatal(err)
	}
	// wrapped lines of the picture differ in their number
	drop := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, "text x y\n", ""), "text class x y\n", "")
	}
	a, b := drop(shape(t, write(t, "html", summary.Of([]summary.Cell{nastyCell})))), drop(shape(t, write(t, "html", other)))
	if strings.Count(s, jsonOf(nasty)) < 20 {
		t.Fatal("the nasty text is not where it was put")
	}
	if a != b {
		t.Errorf("the shapes differ:\n%s\n---\n%s", a, b)
	}
}

// jsonOf is a text as it stands in the JSON format, without quotes.
func jsonOf(text string) string {
	r := result.Result{Why: text}
	s := strings.SplitAfter(mustJSON(&r), `"why": "`)[1]
	return s[:strings.Index(s, "\",\n")]
}

// The policy allows the page's own style, and nothing else at all.
func TestHTMLPolicy(t *testing.T) {
	policy, style := "", ""
	walk(parse(t, write(t, "html", all())), func(n *html.Node) {
		if n.Data == "style" {
			style = n.FirstChild.Data
		}
		for _, a := range n.Attr {
			if n.Data == "meta" && a.Key == "content" && strings.Contains(a.Val, "default-src") {
				policy = a.Val
			}
		}
	})
	sum := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	if policy != want {
		t.Errorf("policy %q, want %q", policy, want)
	}
}

// Evidence and findings are linked to the line of the console where they begin.
func TestHTMLLinksLinesOfTheConsole(t *testing.T) {
	r := oops()
	page := write(t, "html", summary.Of([]summary.Cell{summary.OfResult(r, r.Dir)}))
	for _, want := range []string{`<a href="#c1L3">in the console</a>`, `<div id="c1L3" class="hit"><a href="#c1L3">3</a><code><i>[    1.805273]</i> BUG: kernel NULL pointer`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
}

// Each link leads to a line or a cell of the page.
func TestHTMLLinksLeadSomewhere(t *testing.T) {
	ids, links := map[string]bool{}, map[string]bool{}
	walk(parse(t, write(t, "html", all())), func(n *html.Node) {
		for _, a := range n.Attr {
			if a.Key == "id" && ids[a.Val] {
				t.Errorf("id %q is there twice", a.Val)
			}
			switch a.Key {
			case "id":
				ids[a.Val] = true
			case "href":
				links[strings.TrimPrefix(a.Val, "#")] = true
			}
		}
	})
	for l := range links {
		if !ids[l] {
			t.Errorf("the link #%s leads nowhere", l)
		}
	}
}

// The hostile boot alone is a page of its own, with its console, that a browser opens.
func TestHTMLHostileGolden(t *testing.T) {
	r := hostile()
	golden(t, "hostile.html", write(t, "html", summary.Of([]summary.Cell{summary.OfResult(r, r.Dir)})))
}
