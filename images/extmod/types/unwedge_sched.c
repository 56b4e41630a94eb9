// SPDX-License-Identifier: GPL-2.0
/* struct rq. */
#undef MODULE
#include "kernel/sched/sched.h"
struct rq *unwedge_rq;
