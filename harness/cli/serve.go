package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/history/pages"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

// tokenVariable is the environment's word for the token of `unwedge serve`.
const tokenVariable = "UNWEDGE_SERVE_TOKEN"

func (a *app) serveCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show the history in a browser",
		Long: `Serve pages over the history: kernels against cells, each failure, each run, boot times,
comparisons. Nothing can be changed through them, they run no script and load nothing.

On a loopback address they are open to everybody on this machine. On any other, a reader
needs a token: that of $` + tokenVariable + `, else one that is made up; the address that
is printed has it.`,
		Example: `  unwedge serve
  unwedge serve --listen 127.0.0.1:0
  ` + tokenVariable + `=... unwedge serve --listen :8080`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context(), listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "`ADDRESS` to listen at")
	return cmd
}

func (a *app) serve(ctx context.Context, listen string) error {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return usage.Errorf("--listen %q: write ADDRESS:PORT, such as 127.0.0.1:8080", listen)
	}
	var g pages.Guard
	if g.Token = os.Getenv(tokenVariable); g.Token == "" && !pages.Loopback(listen) {
		g.Token = rand.Text()
	}
	s, err := a.openHistory(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return usage.Errorf("--listen: %w", err)
	}
	url := "http://" + l.Addr().String() + "/"
	if g.Token != "" {
		url += "?token=" + g.Token
	}
	fmt.Fprintln(a.stdout, url)
	return serveUntil(ctx, l, pages.Pages{History: s, Version: a.version}.Handler(g))
}

// serveUntil serves until ctx ends, which is how a user ends it.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if srv.Shutdown(bounded) != nil {
			srv.Close()
		}
	})()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the history: %w", err)
	}
	<-stopped
	return nil
}
