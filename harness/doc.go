// Package harness boots one kernel in one scenario and says how the boot ended
// and, if it did not end well, where it is blocked and why. Boot does that on a
// live guest; Explain does it for a log that somebody else recorded.
//
// Other modules may import these packages; everything else below harness is
// internal. The JSON documents and the names listed here only grow.
//
//	harness                Boot and its Request and Observer; Explain for a log
//	harness/result         the document that a boot leaves: every word of result.json
//	harness/plan           from a kernel argument and a scenario to a Request: tools, accelerator, images
//	harness/report         a Result or a Diagnosis as text for people
//	harness/matrix         many boots, several at a time, and what tells the failed ones apart
//	harness/rundir         the names of the files in a run's directory
//	harness/inspect        what a guest's memory shows: `unwedge inspect`
//	harness/bisect         the first bad kernel of many, found by booting some
//	harness/history/store  what all runs showed: `unwedge history`
//	harness/history/compare  what is new with one kernel: `unwedge compare`
//	harness/cli            the command line
//	scenarios              what to boot and what must happen
//	images/candidate       the kernel that an argument names
//	suites/unwedgetest     all of that for Ginkgo suites
//
// For tests of a kernel or a driver start with suites/unwedgetest; for a program
// that boots kernels, with harness/plan.
package harness
