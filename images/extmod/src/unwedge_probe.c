// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does next to nothing: it takes a parameter, calls a function of
 * the kernel, and says so. That it loads shows that vermagic, symbols and CRCs
 * are the kernel's. For kernels from 5.10 on.
 */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>

static char *word = "";
module_param(word, charp, 0444);
MODULE_PARM_DESC(word, "what to say");

static int __init unwedge_probe_init(void)
{
	pr_info("unwedge_probe: %s (%u ms)\n", word, jiffies_to_msecs(1));
	return 0;
}
module_init(unwedge_probe_init);

static void __exit unwedge_probe_exit(void)
{
}
module_exit(unwedge_probe_exit);

MODULE_DESCRIPTION("shows that external modules load");
MODULE_LICENSE("GPL");
