// SPDX-License-Identifier: GPL-2.0
/*
 * Hangs that no change of one function makes: each is what a driver's author
 * might write by mistake. Inserting the module with fault=NAME does not return.
 *
 * The names of the functions and threads are what a diagnosis has to find, so
 * they are kept. noinline, and no sibling calls (Kbuild), keep them in the
 * stacks. For kernels from 5.10 on.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/workqueue.h>

static char *fault = "";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "the fault to make");

static DEFINE_MUTEX(unwedge_lock_a);
static DEFINE_MUTEX(unwedge_lock_b);
static DECLARE_COMPLETION(unwedge_a_is_held);
static DECLARE_COMPLETION(unwedge_b_is_held);
static DECLARE_COMPLETION(unwedge_started);
static DECLARE_COMPLETION(unwedge_never);

static int unwedge_run(int (*fn)(void *), const char *name)
{
	return PTR_ERR_OR_ZERO(kthread_run(fn, NULL, "%s", name));
}

/* abba: two threads take two mutexes in opposite order. */

static noinline int unwedge_abba_first(void *unused)
{
	mutex_lock(&unwedge_lock_a);
	complete(&unwedge_a_is_held);
	wait_for_completion(&unwedge_b_is_held);
	mutex_lock(&unwedge_lock_b);
	mutex_unlock(&unwedge_lock_b);
	mutex_unlock(&unwedge_lock_a);
	complete(&unwedge_never);
	return 0;
}

static noinline int unwedge_abba_second(void *unused)
{
	mutex_lock(&unwedge_lock_b);
	complete(&unwedge_b_is_held);
	wait_for_completion(&unwedge_a_is_held);
	mutex_lock(&unwedge_lock_a);
	mutex_unlock(&unwedge_lock_a);
	mutex_unlock(&unwedge_lock_b);
	complete(&unwedge_never);
	return 0;
}

static noinline int unwedge_abba_wait(void)
{
	int err = unwedge_run(unwedge_abba_first, "unwedge_abba_1");

	err = err ?: unwedge_run(unwedge_abba_second, "unwedge_abba_2");
	if (err)
		return err;
	wait_for_completion(&unwedge_never);
	wait_for_completion(&unwedge_never);
	return 0;
}

/* dstate: the caller sleeps, and nobody wakes it. */

static noinline int unwedge_dstate_sleep(void)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule();
	}
	return 0;
}

/* softlockup: a CPU does not come back to the scheduler. */

static noinline int unwedge_softlockup_spin(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
	return 0;
}

/* hardlockup: nor does it take interrupts. */

static noinline int unwedge_hardlockup_spin(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
	return 0;
}

/* rcustall: a reader that does not end; the caller waits for its end. */

static noinline int unwedge_rcustall_spin(void *unused)
{
	rcu_read_lock();
	complete(&unwedge_started);
	for (;;)
		cpu_relax();
	return 0;
}

static noinline int unwedge_rcustall_wait(void)
{
	int err = unwedge_run(unwedge_rcustall_spin, "unwedge_rcu");

	if (err)
		return err;
	wait_for_completion(&unwedge_started);
	synchronize_rcu();
	return 0;
}

/* initcall: the module's start waits for a thread that has something else to do. */

static noinline int unwedge_initcall_thread(void *unused)
{
	while (!kthread_should_stop())
		schedule_timeout_idle(MAX_SCHEDULE_TIMEOUT);
	complete(&unwedge_never);
	return 0;
}

static noinline int unwedge_initcall_wait(void)
{
	int err = unwedge_run(unwedge_initcall_thread, "unwedge_init");

	if (err)
		return err;
	wait_for_completion(&unwedge_never);
	return 0;
}

/* mutex-leak: a thread ends with a mutex held. */

static noinline int unwedge_mutex_leak_take(void *unused)
{
	mutex_lock(&unwedge_lock_a);
	complete(&unwedge_a_is_held);
	return 0;
}

static noinline int unwedge_mutex_leak_want(void)
{
	int err = unwedge_run(unwedge_mutex_leak_take, "unwedge_leak");

	if (err)
		return err;
	wait_for_completion(&unwedge_a_is_held);
	msleep(100); /* the thread ends */
	mutex_lock(&unwedge_lock_a);
	mutex_unlock(&unwedge_lock_a);
	return 0;
}

/* workqueue: a work item that does not end; the caller flushes it. */

static noinline void unwedge_workqueue_endless(struct work_struct *work)
{
	wait_for_completion(&unwedge_never);
	complete(&unwedge_started);
}

static DECLARE_WORK(unwedge_work, unwedge_workqueue_endless);

static noinline int unwedge_workqueue_flush(void)
{
	schedule_work(&unwedge_work);
	flush_work(&unwedge_work);
	return 0;
}

static const struct {
	const char *name;
	int (*make)(void);
} unwedge_faults[] = {
	{ "abba", unwedge_abba_wait },
	{ "dstate", unwedge_dstate_sleep },
	{ "softlockup", unwedge_softlockup_spin },
	{ "hardlockup", unwedge_hardlockup_spin },
	{ "rcustall", unwedge_rcustall_wait },
	{ "initcall", unwedge_initcall_wait },
	{ "mutex-leak", unwedge_mutex_leak_want },
	{ "workqueue", unwedge_workqueue_flush },
};

static int __init unwedge_fault_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(unwedge_faults); i++)
		if (!strcmp(fault, unwedge_faults[i].name))
			return unwedge_faults[i].make();
	return -EINVAL;
}
module_init(unwedge_fault_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Hangs, to try a diagnosis on");
