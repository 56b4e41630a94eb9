package modules

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// depends reads the names a module depends on from its .modinfo section.
func depends(name string, module []byte) ([]string, error) {
	info, err := Info(name, module)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range strings.Split(info["depends"], ",") {
		if n != "" {
			names = append(names, canonical(n))
		}
	}
	return names, nil
}

// maxModinfo bounds a .modinfo section, in bytes; those with many aliases have
// some tens of kilobytes.
const maxModinfo = 4 << 20

// Info reads the key=value strings of a module's .modinfo section
// (include/linux/moduleparam.h): license, vermagic, depends, … Of a key that is
// there several times it has the last value. name is for errors.
func Info(name string, module []byte) (map[string]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("module %s is not an ELF file: %w", name, err)
	}
	sec := f.Section(".modinfo")
	if sec == nil {
		return nil, fmt.Errorf("module %s has no .modinfo section", name)
	}
	if sec.Size > maxModinfo { // what it unpacks to, where it is compressed
		return nil, fmt.Errorf("module %s: .modinfo has %d bytes, more than %d", name, sec.Size, maxModinfo)
	}
	b, err := sec.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: read .modinfo: %w", name, err)
	}
	out := map[string]string{}
	for _, kv := range strings.Split(string(b), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out, nil
}
