// Package usage tells a user's mistakes from failures: whether an error is wrong use
// or bad input, which the command line ends with exit code 2.
package usage

import "fmt"

// Error is wrong use or bad input.
type Error struct{ Err error }

func (e Error) Error() string { return e.Err.Error() }

func (e Error) Unwrap() error { return e.Err }

// Errorf is fmt.Errorf for an Error.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// Wrap makes err an Error.
func Wrap(err error) error { return Error{err} }
