// SPDX-License-Identifier: GPL-2.0
/* struct bdev_inode. */
#undef MODULE
#include "block/bdev.c"
