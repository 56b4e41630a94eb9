package guestmem

// SeesTasks says whether the kernel's image has what its tasks are found by.
func (k *Kernel) SeesTasks() bool { return k.start == nil }
