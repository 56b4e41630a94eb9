package run

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/machine"
)

// Answers says whether the guest takes TCP connections on a port: it connects through
// QEMU's user-mode network. That takes connections by itself before the guest has
// answered, so its own list says whether the guest did.
func (g *Guest) Answers(ctx context.Context, port int) (bool, error) {
	host, err := g.forward(ctx, port)
	if err != nil {
		return false, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(host)))
	if err != nil {
		return false, fmt.Errorf("connect to the guest's port %d: %w", port, err)
	}
	defer conn.Close()
	for range 10 { // a second in all; a guest without a network answers nothing
		list, err := g.network(ctx)
		if err != nil {
			return false, err
		}
		if established(list, host, port) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return false, nil
}

// forward has QEMU forward a port of the loopback address, which the host chooses, to
// the guest's, once.
func (g *Guest) forward(ctx context.Context, port int) (int, error) {
	if g.forwarded != 0 {
		return g.forwarded, nil
	}
	said, err := g.human(ctx, fmt.Sprintf("hostfwd_add %s tcp:127.0.0.1:0-:%d", machine.NetID, port))
	if err == nil && strings.TrimSpace(said) != "" {
		err = fmt.Errorf("QEMU says: %.200s", strings.TrimSpace(said))
	}
	if err != nil {
		return 0, fmt.Errorf("forward the guest's port %d: %w", port, err)
	}
	list, err := g.network(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range connections(list) {
		if c.state == "HOST_FORWARD" && c.to == port {
			g.forwarded = c.from
			return c.from, nil
		}
	}
	return 0, fmt.Errorf("forward the guest's port %d: QEMU does not list it", port)
}

func (g *Guest) network(ctx context.Context) (string, error) { return g.human(ctx, "info usernet") }

func (g *Guest) human(ctx context.Context, line string) (out string, err error) {
	err = g.qmp.Execute(ctx, "human-monitor-command", map[string]string{"command-line": line}, &out)
	return out, err
}

// connection is a line of `info usernet` (libslirp, slirp_connection_info): its state,
// the host's port, the guest's.
type connection struct {
	state    string
	from, to int
}

var connectionLine = regexp.MustCompile(`(?m)^\s*TCP\[(\w+)\]\s+\S+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)\s`)

func connections(list string) []connection {
	var out []connection
	for _, m := range connectionLine.FindAllStringSubmatch(list, -1) {
		from, err1 := strconv.Atoi(m[3])
		to, err2 := strconv.Atoi(m[5])
		if err1 == nil && err2 == nil {
			out = append(out, connection{m[1], from, to})
		}
	}
	return out
}

// established says whether the guest has taken a connection that was forwarded to it.
func established(list string, from, to int) bool {
	for _, c := range connections(list) {
		if c.state == "ESTABLISHED" && c.from == from && c.to == to {
			return true
		}
	}
	return false
}
