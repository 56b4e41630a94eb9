package qmp

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by every call on a connection that has ended, for
// whatever reason. The reason is wrapped beside it: errors.Is(err, io.EOF)
// says that QEMU went away, errors.Is(err, ErrProtocol) that the peer broke
// the protocol.
var ErrClosed = errors.New("QMP connection closed")

// ErrNoReply is returned when a command was sent and no reply came in time.
// The connection stays usable. That QEMU is alive and does not reply is a finding
// of its own.
var ErrNoReply = errors.New("no reply from QMP")

// ErrProtocol is wrapped in the reason of a connection that was closed
// because its peer sent something that is not QMP.
var ErrProtocol = errors.New("peer does not speak QMP")

// errLocalClose is the reason recorded when Close is called.
var errLocalClose = errors.New("closed by the harness")

// CommandError is QEMU's own refusal of a command.
type CommandError struct {
	// Command is the name of the command as it was sent.
	Command string
	// Class is QEMU's error class, "GenericError", "CommandNotFound" and so
	// on (QMP specification, "error response").
	Class string
	// Desc is QEMU's text for people. It is not stable between versions.
	Desc string
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("qmp %s: %s: %s", e.Command, e.Class, e.Desc)
}

// closedBy gives the error that ended connections return.
func closedBy(reason error) error {
	return fmt.Errorf("%w: %w", ErrClosed, reason)
}

// violation is a reason that blames the peer.
func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
