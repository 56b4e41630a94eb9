package pages

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Guard says who may see the pages.
type Guard struct {
	// Token must be known to the reader; empty asks for none, which is for loopback
	// addresses only.
	Token string
}

// cookie remembers the token in the reader's browser.
const cookie = "unwedge-token"

// Loopback says whether an address to listen at can be reached from this machine only.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && local(host)
}

// local says that a host name or address is this machine's own.
func local(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

// wrap lets requests through that are allowed. Without a token they must name this
// machine by its loopback name: a page of another site that has its own name point here
// (DNS rebinding) gets nothing.
func (g Guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "the history can only be read", http.StatusMethodNotAllowed)
		case g.Token == "" && !local(hostOf(r)):
			http.Error(w, "ask by the name localhost or a loopback address", http.StatusForbidden)
		case g.Token != "" && g.same(r.URL.Query().Get("token")):
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: g.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
			u := *r.URL
			q := u.Query()
			q.Del("token")
			u.RawQuery = q.Encode()
			http.Redirect(w, r, "/"+strings.TrimLeft(u.RequestURI(), "/"), http.StatusSeeOther)
		case g.Token != "" && !g.allowed(r):
			http.Error(w, "open the address that unwedge serve printed, with its token", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}

// allowed says that the request has the token, in a cookie or as a bearer's.
func (g Guard) allowed(r *http.Request) bool {
	if c, err := r.Cookie(cookie); err == nil && g.same(c.Value) {
		return true
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && g.same(bearer)
}

func (g Guard) same(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(g.Token)) == 1
}
