// Package diagnose says where a boot is blocked and why. It is pure: facts in,
// a Diagnosis out.
//
// A cause is named only when its own facts are there. Facts that speak for
// something else as well lower the confidence, and without facts the answer is
// unknown, with the evidence that there is.
package diagnose
