package diagnose

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// execError is why the kernel could not execute an init (init/main.c).
type execError struct {
	path  string
	errno int
}

// The kernel's sentences about an init that it could not execute, by age.
var initError = regexp.MustCompile(`(?:Failed to execute|Requested init|Starting init:|check access for rdinit=) ?(\S+) (?:failed|exists but couldn't execute it)?[: ]*\(?(?:error )?-(\d+)`)

// notExecuted finds the first init that was there and that the kernel could not
// execute, nil if there is none. Of /sbin/init, /etc/init and /bin/sh, which the
// kernel tries by itself, it only speaks where they exist.
func notExecuted(events []dump.Event) (missing *execError) {
	for _, e := range events {
		m := initError.FindStringSubmatch(e.Text)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		x := &execError{m[1], n}
		switch {
		case err != nil:
		case n != enoent:
			return x
		case missing == nil:
			missing = x
		}
	}
	return missing
}

const enoent = 2

// execErrors are what execve says of a program (execve(2), fs/exec.c,
// fs/binfmt_elf.c), and what to do.
var execErrors = map[int]struct {
	name, means, fix string
	// image says that what is in the image gives such an error; the others may come
	// from the kernel's own work as well.
	image bool
}{
	1:      {"EPERM", "the kernel may not execute it", "look for a security module (IMA, IPE, SELinux) that refuses it", true},
	enoent: {"ENOENT", "it, or the interpreter that it names (ld.so, or the program behind #!), does not exist", "check that the file and its interpreter are in the image (file, readelf -l), that init= (or rdinit=) names it rightly, and that the initramfs was loaded", true},
	8:      {"ENOEXEC", "it is not in a format that the kernel can execute: a program for another architecture, a script without #!, or an empty or torn file", "check with file(1) that init and its interpreter are ELF programs for this architecture, and whole; a script needs #! and CONFIG_BINFMT_SCRIPT", true},
	13:     {"EACCES", "it is not executable: its mode lacks x, it is a directory, or its file system is mounted noexec", "chmod +x it in the image, and check the mode of its interpreter and the mount options (rootflags=)", true},
	20:     {"ENOTDIR", "a part of its path is no directory", "check init= and the image", true},
	21:     {"EISDIR", "its interpreter is a directory", "check the interpreter that it names (readelf -l)", true},
	26:     {"ETXTBSY", "it is open for writing", "see what writes to it during boot", true},
	36:     {"ENAMETOOLONG", "its path is too long", "check init= and the image", true},
	40:     {"ELOOP", "its symbolic links, or the scripts that interpret it, go round in a circle", "check the links in the image", true},
	80:     {"ELIBBAD", "its interpreter (ld.so) is damaged or for another architecture", "check the interpreter that it names (readelf -l)", true},

	4:   {name: "EINTR", means: "a signal came in between"},
	5:   {name: "EIO", means: "the file system could not read it", fix: "check the disk or image for damage, and the file system's errors before it"},
	7:   {name: "E2BIG", means: "the command line gives it too many arguments", fix: "shorten the kernel command line"},
	11:  {name: "EAGAIN", means: "the kernel has no room for another task"},
	12:  {name: "ENOMEM", means: "the kernel found no memory for it", fix: "give the guest more memory (-m), or a smaller initramfs: an unpacked initramfs lives in memory"},
	14:  {name: "EFAULT", means: "the kernel could not read its arguments or its file"},
	22:  {name: "EINVAL", means: "its ELF headers make no sense to the kernel", fix: "check that the file is whole (readelf -l)"},
	23:  {name: "ENFILE", means: "the kernel has no room for another open file"},
	38:  {name: "ENOSYS", means: "the kernel lacks what it needs"},
	74:  {name: "EBADMSG", means: "the file system found it damaged", fix: "check the image (fsck, fs-verity, dm-verity)"},
	84:  {name: "EILSEQ", means: "it is not what the file system or the processor expects", fix: "check the image, and that it is built for this processor's ABI"},
	117: {name: "EUCLEAN", means: "the file system is damaged", fix: "check the file system (fsck)"},
}

// explain writes the error into a Diagnosis.
func (x *execError) explain(f facts, out *result.Diagnosis) {
	e, known := execErrors[x.errno]
	if !known {
		e.name, e.means = "errno "+strconv.Itoa(x.errno), "the kernel could not execute it"
	}
	if b, ok := f.log.Boot.Event(dump.EventBinfmt); ok {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the kernel asks for a handler of the format", b))
		out.Notes = append(out.Notes, binfmtNote(b))
	}
	out.Remedy = e.fix
	if x.errno == enoent {
		out.Summary = fmt.Sprintf("the kernel could not execute init %s (error -2, ENOENT): %s", x.path, e.means)
		return
	}
	out.Cause = result.CauseInitBad
	out.Title = fmt.Sprintf("kernel panic: init %s cannot be executed (error -%d, %s)", x.path, x.errno, e.name)
	out.Summary = fmt.Sprintf("init %s was found, but the kernel could not execute it (error -%d, %s): %s", x.path, x.errno, e.name, e.means)
	switch {
	case !e.image:
		const other = "boot the same image with a kernel that is known to be good: if that boots, this kernel's execve is at fault"
		out.Where, out.Confidence = result.WhereUnknown, result.Possible
		if out.Remedy != "" {
			out.Remedy += "; or "
		}
		out.Remedy += other
	case x.path != "/init" && x.path != f.cmdline.value("rdinit"):
		out.Where = result.WhereUserspace
	}
}

// binfmtNote says what the module that the kernel asked for tells of the file:
// binfmt-XXXX has its third and fourth byte (fs/exec.c, search_binary_handler).
func binfmtNote(e dump.Event) string {
	what := ""
	switch e.Subject {
	case "464c", "4c46":
		what = ": the file is an ELF program, for another architecture or byte order"
	case "0000":
		what = ": the file begins with zeros where a program has its magic"
	}
	return fmt.Sprintf("the kernel asked for the module binfmt-%s again and again (modprobe is no program for this machine either, or is missing)%s", e.Subject, what)
}
