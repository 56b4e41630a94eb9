package kcidb

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/report"
)

// Server is where documents are submitted to: KernelCI's REST service, or a fake one.
type Server struct {
	// URL is the service's, without /submit.
	URL string
	// Token is the origin's.
	Token string
	// Client is the HTTP client; nil for one with a time limit of a minute.
	Client *http.Client
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// ErrRefused says that the server did not take the token.
var ErrRefused = errors.New("the server does not accept the token")

// Submit sends a document and returns the ID that the server gives the submission. The
// same document can be submitted again: KCIDB merges objects by their IDs. Errors never
// hold the token.
func (s Server) Submit(ctx context.Context, d Document) (id string, err error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && !local(u) {
		return "", fmt.Errorf("submit to KCIDB: the URL must be https://HOST (http for this host alone): set KCIDB_URL")
	}
	if s.Token == "" {
		return "", fmt.Errorf("submit to KCIDB: no token: set KCIDB_TOKEN")
	}
	body, err := d.Marshal()
	if err != nil {
		return "", err
	}
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath("submit").String(), bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("submit to KCIDB: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Token)
	client := s.Client
	if client == nil {
		client = &http.Client{Timeout: time.Minute}
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("submit to KCIDB: %w: the same command can be run again", err)
	}
	defer resp.Body.Close() // only read
	return answer(resp)
}

// local says that a URL is of this host: the token does not leave it.
func local(u *url.URL) bool {
	h := u.Hostname()
	return u.Scheme == "http" && (h == "127.0.0.1" || h == "::1" || h == "localhost")
}

func answer(resp *http.Response) (string, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("submit to KCIDB: read the answer: %w", err)
	}
	var a struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	parsed := json.Unmarshal(b, &a) == nil
	said := report.Safe(cmp.Or(a.Message, strings.TrimSpace(string(b))), 300)
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return "", fmt.Errorf("submit to KCIDB: %w (%s): check KCIDB_TOKEN and the origin", ErrRefused, resp.Status)
	case resp.StatusCode/100 != 2 || !parsed || a.Status == "error":
		return "", fmt.Errorf("submit to KCIDB: %s: %s", resp.Status, said)
	default:
		return report.Safe(a.ID, 200), nil
	}
}
