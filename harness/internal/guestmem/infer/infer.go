// Package infer finds how a kernel lays out its tasks where nothing has its types: from
// the image and the guest's memory alone. init_task says much, since its first values are
// in the image; every other task must then agree.
//
// An offset is used only where it holds for all tasks, and where no other offset does.
// What cannot be verified so stays unknown. A kernel that shuffles its structures
// (CONFIG_RANDSTRUCT) gives nothing.
package infer

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
)

// ErrUnknown says that the layout of tasks was not found, or not for certain.
var ErrUnknown = errors.New("the layout of tasks cannot be inferred")

func unknown(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrUnknown, fmt.Sprintf(format, a...))
}

const (
	word     = 8
	listHead = 16 // the size of struct list_head
	commSize = 16 // TASK_COMM_LEN (include/linux/sched.h)
	maxTask  = 16 << 10
)

type field = kimage.Field

// Image infers what the image alone says of init_task: comm, which the kernel is found
// in memory by, and the pointers to its relatives.
func Image(img *kimage.Image) (*kimage.Types, error) {
	task, ok := img.Lookup("init_task")
	if !ok {
		return nil, unknown("the image does not name init_task")
	}
	b, ok := img.Bytes(task, maxTask)
	if !ok {
		return nil, unknown("init_task is not in the image")
	}
	comm := bytes.Index(b, []byte("swapper\x00\x00\x00\x00\x00\x00\x00\x00\x00")) // init/init_task.c
	if comm < 0 {
		return nil, unknown("init_task has no name")
	}
	pointers := img.Pointers(task, maxTask)
	relatives := []uint64{}
	for off := uint64(0); off < uint64(comm); off += word {
		if isFamily(pointers, task, off) {
			relatives = append(relatives, off)
		}
	}
	if len(relatives) != 1 {
		return nil, unknown("%d places in init_task look like its parents", len(relatives))
	}
	at := relatives[0]
	return kimage.Known(kimage.Inferred, map[string]field{
		"task_struct.comm":         {Off: uint64(comm), Size: commSize},
		"task_struct.real_parent":  {Off: at, Size: word},
		"task_struct.parent":       {Off: at + word, Size: word},
		"task_struct.children":     {Off: at + 2*word, Size: listHead},
		"task_struct.sibling":      {Off: at + 4*word, Size: listHead},
		"task_struct.group_leader": {Off: at + 6*word, Size: word},
	}), nil
}

// isFamily says that at an offset of init_task are its real_parent, parent, children,
// sibling and group_leader: itself, twice; two empty lists; itself (include/linux/sched.h,
// in this order since 2.6).
func isFamily(pointers map[uint64]uint64, task, off uint64) bool {
	at := task + off
	for i, want := range []uint64{task, task, at + 16, at + 16, at + 32, at + 32, task} {
		if got, ok := pointers[at+word*uint64(i)]; !ok || got != want {
			return false
		}
	}
	return true
}
