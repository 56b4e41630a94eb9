package guestmem

// SeesTasks says whether the tasks of a guest can be read at all: the kernel's types are
// known, or can be inferred in its memory.
func (k *Kernel) SeesTasks() bool { return k.noTypes == nil || k.infers }
