package dump

import "github.com/unwedge/unwedge/harness/internal/model"

// IsGeneric says whether a function (Base name) says nothing about why a task waits
// or crashed.
func IsGeneric(fn string) bool { return generics.has(fn) }

// Guilty names the function that a report is about: the instruction pointer's
// unless it is generic, else the first of the chain that is not generic, else any.
// Compiler suffixes are removed.
func Guilty(ip string, frames []model.Frame) string {
	ip = model.BaseName(ip)
	if ip != "" && !IsGeneric(ip) {
		return ip
	}
	chain := model.Trusted(frames)
	for _, f := range chain {
		if b := f.Base(); !IsGeneric(b) && !pastEnd(f) {
			return b
		}
	}
	// Where all are generic, the one that is no part of the report itself.
	if ip != "" && !innocents.has(ip) {
		return ip
	}
	for _, f := range chain {
		if b := f.Base(); !innocents.has(b) && !isAnchor(b) {
			return b
		}
	}
	return ""
}
