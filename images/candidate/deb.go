package candidate

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/progress"
)

const (
	arMagic   = "!<arch>\n"
	arHeader  = 60
	maxArSize = 8 << 30
)

// extractDeb unpacks a Debian binary package, deb(5): an ar archive of
// debian-binary, control.tar.* and data.tar.*.
func extractDeb(ctx context.Context, path string, out *unpacker) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open package: %w", err)
	}
	defer f.Close()
	return readDeb(ctx, bufio.NewReaderSize(progress.Reader(f, out.task), 1<<20), out)
}

func readDeb(ctx context.Context, r *bufio.Reader, out *unpacker) error {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != arMagic {
		return out.bad("", "not a Debian package: no ar magic", err)
	}
	for {
		name, size, err := arMember(r)
		if errors.Is(err, io.EOF) {
			return out.bad("", "not a Debian package, or a truncated one: no data.tar in it", nil)
		}
		if err != nil {
			return out.corrupt(err)
		}
		body := io.LimitReader(r, size)
		if strings.HasPrefix(name, "data.tar") {
			return readData(ctx, body, size, out)
		}
		if n, err := io.Copy(io.Discard, body); err != nil || n != size {
			return out.corrupt(io.ErrUnexpectedEOF)
		}
		if size%2 == 1 {
			_, _ = r.Discard(1)
		}
	}
}

// arMember reads one header of an ar archive, ar(5). io.EOF is the clean end.
func arMember(r io.Reader) (name string, size int64, err error) {
	var h [arHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return "", 0, err
	}
	if string(h[58:]) != "`\n" {
		return "", 0, errors.New("an ar header is broken")
	}
	size, err = strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
	if err != nil || size < 0 || size > maxArSize {
		return "", 0, errors.New("an ar header has no proper size")
	}
	return strings.TrimSuffix(strings.TrimSpace(string(h[:16])), "/"), size, nil
}

// readData unpacks data.tar, then reads on to the end, so that the
// compression's checksum is checked.
func readData(ctx context.Context, body io.Reader, size int64, out *unpacker) error {
	counted := &countReader{r: body}
	z, err := decompress(ctx, counted)
	if err != nil {
		return out.corrupt(err)
	}
	defer z.Close()
	if err := readTar(z, out); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(z, maxTotal)); err != nil {
		return out.corrupt(err)
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return out.corrupt(err)
	}
	if counted.n != size {
		return out.corrupt(io.ErrUnexpectedEOF)
	}
	return nil
}

func readTar(r io.Reader, out *unpacker) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return out.corrupt(err)
		}
		m := member{name: h.Name, mode: h.FileInfo().Mode(), size: h.Size, link: h.Linkname}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeLink:
			m.mode, m.size, m.hard = 0, 0, h.Linkname
		}
		if err := out.add(m, t); err != nil {
			return err
		}
	}
}

// decompress unpacks a package's payload, whose first bytes show its compression,
// bounded in memory by kernel.NewReader and in length by the unpacker.
func decompress(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(ctxReader{ctx, r}, 1<<20)
	head, err := br.Peek(8)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return kernel.NewReader(kernel.DetectCompression(head), br)
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ctxReader ends a long read when its context does.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one call
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
