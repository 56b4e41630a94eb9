package extmod

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const maxSymvers = 64 << 20 // bytes; an allmodconfig has some 3 MiB

// ReadSymvers reads a Module.symvers, as a build and the header packages leave
// it: one symbol a line, its CRC, name, exporter, kind and namespace between tabs
// (Documentation/kbuild/modules.rst).
func ReadSymvers(r io.Reader) (map[string]Export, error) {
	out := map[string]Export{}
	lr := &io.LimitedReader{R: r, N: maxSymvers + 1}
	sc := bufio.NewScanner(lr)
	for line := 1; sc.Scan(); line++ {
		if sc.Text() == "" {
			continue
		}
		w := strings.Split(sc.Text(), "\t")
		if len(w) < 4 || !strings.HasPrefix(w[3], "EXPORT_") {
			return nil, fmt.Errorf("line %d is not a line of a Module.symvers: %.60q", line, sc.Text())
		}
		crc, err := strconv.ParseUint(w[0], 0, 32)
		if err != nil {
			return nil, fmt.Errorf("line %d has no CRC: %.60q", line, w[0])
		}
		// Without CONFIG_MODVERSIONS all are 0; with it a few are that have none.
		x := Export{CRC: uint32(crc), HasCRC: crc != 0, GPL: strings.HasPrefix(w[3], "EXPORT_SYMBOL_GPL")}
		if w[2] != "vmlinux" {
			x.Owner = moduleOf(w[2])
		}
		if len(w) > 4 {
			x.Namespace = w[4]
		}
		if len(out) >= maxExports*4 {
			return nil, fmt.Errorf("more than %d symbols", maxExports*4)
		}
		out[w[1]] = x
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	if lr.N == 0 {
		return nil, fmt.Errorf("more than %d MiB", maxSymvers>>20)
	}
	return out, nil
}

// moduleOf is the name of the module of a path such as drivers/net/virtio-net.
func moduleOf(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.ReplaceAll(strings.TrimSuffix(name, ".ko"), "-", "_")
}

func readSymversFile(path string) (map[string]Export, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read symbol versions: %w", err)
	}
	defer f.Close()
	m, err := ReadSymvers(f)
	if err != nil {
		return nil, fmt.Errorf("read symbol versions %s: %w", path, err)
	}
	return m, nil
}
