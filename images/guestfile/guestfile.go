// Package guestfile says from its bytes what a file is that a user gives a guest: an
// initramfs, a disk, or a directory that is to be the root file system.
package guestfile

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// BadFileError says in one line why a file is not what it was given for.
type BadFileError struct{ Path, Reason string }

func (e *BadFileError) Error() string { return e.Path + ": " + e.Reason }

// open opens a regular file, or a block device where that may be.
func open(path string, device bool) (*os.File, int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, 0, &BadFileError{path, cause(err)}
	}
	switch mode := st.Mode(); {
	case mode.IsDir():
		return nil, 0, &BadFileError{path, "it is a directory"}
	case mode.IsRegular():
	case device && mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
	default:
		return nil, 0, &BadFileError{path, "not a regular file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, &BadFileError{path, cause(err)}
	}
	size, err := f.Seek(0, io.SeekEnd) // a block device has no size in stat
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil && size == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		f.Close()
		return nil, 0, &BadFileError{path, cause(err)}
	}
	return f, size, nil
}

// cause is an error without the path that the message has already.
func cause(err error) string {
	if e := new(os.PathError); errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func badf(path, format string, args ...any) error {
	return &BadFileError{path, fmt.Sprintf(format, args...)}
}
