// SPDX-License-Identifier: GPL-2.0
/* The ring buffer of printk. */
#undef MODULE
#include <linux/dev_printk.h>
#include "kernel/printk/printk_ringbuffer.h"
struct printk_ringbuffer *unwedge_ring;
struct printk_info *unwedge_info;
struct prb_desc *unwedge_desc;
