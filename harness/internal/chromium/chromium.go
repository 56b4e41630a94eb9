// Package chromium opens pages in a browser, for the tests of pages.
package chromium

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Variable is the environment's word for the browser's program; `make test-browser` sets it.
const Variable = "UNWEDGE_CHROMIUM"

// Open runs the browser that Variable names on a URL, with a profile of its own in the
// directory, and returns what it prints, and what it logs: the messages of a page's console
// are there. No name is looked up; addresses of this machine are reached.
func Open(ctx context.Context, profile, url string, args ...string) (printed, log string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--enable-logging=stderr", "--v=0",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir=" + profile,
	}, args...)
	cmd := exec.CommandContext(ctx, os.Getenv(Variable), append(args, url)...)
	cmd.WaitDelay = time.Second
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("open %s in a browser: %w: %s", url, err, errs.String())
	}
	return out.String(), errs.String(), nil
}
