// SPDX-License-Identifier: GPL-2.0
/* struct kthread. */
#undef MODULE
#include "kernel/kthread.c"
