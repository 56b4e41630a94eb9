// SPDX-License-Identifier: GPL-2.0
/* struct worker and what it works for. */
#undef MODULE
#include "kernel/workqueue.c"
