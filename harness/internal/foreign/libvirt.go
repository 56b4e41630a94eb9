package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

// libvirtTime bounds what libvirt is asked beside QEMU's own answers.
const libvirtTime = 20 * time.Second

// The connections whose guests run on this machine.
const (
	systemURI  = "qemu:///system"
	sessionURI = "qemu:///session"
)

// OpenLibvirt connects to the guest of a running domain of libvirt's on this machine.
// name is [URI/]DOMAIN: the domain's name, ID or UUID, and qemu:///system or
// qemu:///session; without one it is $LIBVIRT_DEFAULT_URI, else what virsh takes.
func OpenLibvirt(ctx context.Context, name string, o Options) (*Guest, error) {
	uri, domain := splitDomain(name, os.Getenv("LIBVIRT_DEFAULT_URI"), os.Geteuid())
	w := &libvirtWire{uri: uri, name: domain, transcript: o.Transcript}
	conn, err := w.reopen(ctx)
	if err != nil {
		return nil, err
	}
	g := &Guest{QMP: conn, Domain: w.domain.Name, URI: uri, wire: w, files: []io.Closer{w}}
	if err := g.identify(ctx); err != nil {
		g.Close()
		return nil, fmt.Errorf("domain %s: %w", domain, err)
	}
	return g, nil
}

// splitDomain tells the connection from the domain.
func splitDomain(name, uri string, uid int) (string, string) {
	if i := strings.LastIndex(name, "/"); i >= 0 && strings.Contains(name, "://") {
		return name[:i], name[i+1:]
	}
	switch {
	case uri != "":
		return uri, name
	case uid == 0:
		return systemURI, name
	default:
		return sessionURI, name
	}
}

// daemonSockets are where the daemon of a connection may listen: the one for QEMU alone
// of newer libvirts, or the one for all.
func daemonSockets(uri string) ([]string, error) {
	dir := "/run/libvirt"
	switch {
	case uri == systemURI, uri == sessionURI && os.Geteuid() == 0: // root has no other
	case uri == sessionURI:
		dir = os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			cache, err := os.UserCacheDir()
			if err != nil {
				return nil, err
			}
			dir = cache
		}
		dir = filepath.Join(dir, "libvirt")
	default:
		return nil, usage.Errorf("libvirt connection %q: want %s or %s: a guest is read on the machine that it runs on", uri, systemURI, sessionURI)
	}
	return []string{filepath.Join(dir, "virtqemud-sock"), filepath.Join(dir, "libvirt-sock")}, nil
}

// libvirtWire is a monitor that libvirt hands on.
type libvirtWire struct {
	uri, name  string
	transcript io.Writer

	daemons []*libvirt.Libvirt // connections, the newest last
	domain  libvirt.Domain
}

// Close ends the connections to libvirt.
func (w *libvirtWire) Close() error {
	var errs []error
	for _, l := range w.daemons {
		errs = append(errs, l.Disconnect())
	}
	return errors.Join(errs...)
}

// reopen connects to libvirt, and to the domain's monitor through it.
func (w *libvirtWire) reopen(ctx context.Context) (*qmp.Conn, error) {
	conn, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := libvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	if err := bounded(ctx, conn, func() error { return l.ConnectToURI(libvirt.ConnectURI(w.uri)) }); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", w.uri, err)
	}
	w.daemons = append(w.daemons, l)
	if err := bounded(ctx, conn, func() error { return w.find(l) }); err != nil {
		return nil, err
	}
	return newBridge(ctx, l, w.domain, w.transcript)
}

func (w *libvirtWire) dial(ctx context.Context) (net.Conn, error) {
	paths, err := daemonSockets(w.uri)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, fs.ErrPermission):
			return nil, usage.Errorf("connect to %s: permission denied: run as root", w.uri)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("connect to %s: %w", w.uri, err)
		}
	}
	return nil, usage.Errorf("connect to %s: no libvirt daemon listens at %s: `virsh -c %s list` may start one", w.uri, strings.Join(paths, " or "), w.uri)
}

// find looks the domain up, by name, ID or UUID.
func (w *libvirtWire) find(l *libvirt.Libvirt) (err error) {
	if w.domain, err = l.DomainLookupByName(w.name); err != nil {
		if id, aerr := strconv.ParseInt(w.name, 10, 32); aerr == nil {
			w.domain, err = l.DomainLookupByID(int32(id))
		} else if uuid, ok := parseUUID(w.name); ok {
			w.domain, err = l.DomainLookupByUUID(uuid)
		}
	}
	if libvirt.IsNotFound(err) {
		return usage.Errorf("%s has no domain %q: `virsh -c %s list --all` lists them", w.uri, w.name, w.uri)
	}
	if err != nil {
		return fmt.Errorf("find domain %s: %w", w.name, err)
	}
	state, _, err := l.DomainGetState(w.domain, 0)
	if err != nil {
		return fmt.Errorf("find domain %s: %w", w.name, err)
	}
	if s := libvirt.DomainState(state); s == libvirt.DomainShutoff || s == libvirt.DomainNostate {
		return usage.Errorf("domain %s is not running: nothing of it can be read", w.domain.Name)
	}
	return nil
}

func parseUUID(s string) (u libvirt.UUID, ok bool) {
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 2*len(u) {
		return u, false
	}
	for i := range u {
		n, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			return u, false
		}
		u[i] = byte(n)
	}
	return u, true
}

// bounded runs f, which waits for libvirt, and closes the connection if the context or
// the time ends before f does.
func bounded(ctx context.Context, conn io.Closer, f func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, libvirtTime, fmt.Errorf("libvirt did not answer within %s", libvirtTime))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		conn.Close()
		<-done //nolint:errcheck // the context says why it ended
		return context.Cause(ctx)
	}
}

// insure has virsh, where it is installed, let the guest go on.
func (w *libvirtWire) insure() (release func(resumed bool) error, err error) {
	virsh, err := exec.LookPath("virsh")
	if err != nil {
		return nil, nil
	}
	cmd := exec.Command("/bin/sh", "-c", `read -r _ || exec "$0" -q -c "$1" resume "$2" >/dev/null 2>&1`, //nolint:noctx // release ends it
		virsh, w.uri, fmt.Sprintf("%x", w.domain.UUID))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return startGuard(cmd)
}

// sendFile cannot: libvirt hands on no files.
func (w *libvirtWire) sendFile(context.Context, *qmp.Conn, string, uintptr) (bool, error) {
	return false, nil
}
