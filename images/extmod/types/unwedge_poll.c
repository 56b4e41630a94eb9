// SPDX-License-Identifier: GPL-2.0
/* struct eventpoll and struct epitem. */
#undef MODULE
#include "fs/eventpoll.c"
