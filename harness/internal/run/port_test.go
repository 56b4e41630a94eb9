package run

import "testing"

// What QEMU 7.2 prints, with a connection that the guest has not answered and one that
// it has.
const usernet = `Hub 0 (#net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  12       127.0.0.1 41157       10.0.2.15    22     0     0
  TCP[SYN_SENT]      24       127.0.0.1 41157       10.0.2.15    22     0     0
  TCP[ESTABLISHED]   25       127.0.0.1 41158       10.0.2.15    80     0     0
  UDP[236 sec]       54       10.0.2.15 49042        10.0.2.3    53     0     0
`

func TestEstablished(t *testing.T) {
	if n := len(connections(usernet)); n != 3 {
		t.Errorf("%d connections", n)
	}
	if established(usernet, 41157, 22) {
		t.Error("the guest has not answered")
	}
	if !established(usernet, 41158, 80) {
		t.Error("the guest has answered")
	}
	if established("", 1, 2) || len(connections("TCP[ESTABLISHED] x")) > 0 {
		t.Error("an answer without connections")
	}
}
