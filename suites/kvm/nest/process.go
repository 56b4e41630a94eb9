package nest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"
)

// own starts QEMU and waits for its end. Pdeathsig is sent when the thread that
// started the child ends (prctl(2)), so this goroutine keeps its thread.
func (h *Host) own(log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer log.Close()
	err := h.cmd.Start()
	started <- err
	if err == nil {
		h.err = h.cmd.Wait()
	}
	close(h.ended)
}

// connect waits for the host's first word.
func (h *Host) connect(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-h.ended:
			cancel(fmt.Errorf("QEMU ended: %w", errors.Join(h.err, ctx.Err())))
		case <-ctx.Done():
		}
	}()
	unhook := context.AfterFunc(ctx, func() { _ = l.(*net.UnixListener).SetDeadline(time.Now()) })
	defer unhook()
	conn, err := l.Accept()
	if err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	h.conn, h.answers = conn, bufio.NewScanner(conn)
	word, err := h.answer(ctx)
	if err == nil && word != "ready" {
		err = fmt.Errorf("its first word was %q", word)
	}
	return err
}
