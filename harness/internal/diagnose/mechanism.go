package diagnose

import "strings"

// mechanism is what a task sleeps on.
type mechanism string

const (
	onEntropy    mechanism = "entropy"
	onHelper     mechanism = "usermodehelper"
	onMutex      mechanism = "mutex"
	onRWSem      mechanism = "rwsem"
	onSemaphore  mechanism = "semaphore"
	onRCU        mechanism = "rcu"
	onAsync      mechanism = "async"
	onProbes     mechanism = "device-probes"
	onFlush      mechanism = "workqueue"
	onDevtmpfs   mechanism = "devtmpfs"
	onIdempotent mechanism = "same-module"
	onRootDevice mechanism = "root-device"
	onFileLock   mechanism = "file-lock"
	onFuse       mechanism = "fuse"
	onNetFS      mechanism = "network-fs"
	onIO         mechanism = "io"
	onCompletion mechanism = "completion"
	onFirmware   mechanism = "firmware"
	onPipe       mechanism = "pipe"
	onFifo       mechanism = "fifo"
	onSocket     mechanism = "socket"
	onTTYWrite   mechanism = "tty-write"
	onTTY        mechanism = "tty"
	onChild      mechanism = "child"
	onVfork      mechanism = "vfork"
	onFutex      mechanism = "futex"
	onPoll       mechanism = "poll"
	onSleep      mechanism = "sleep"
	onSignal     mechanism = "signal"
	onStop       mechanism = "stopped"
	onCPU        mechanism = "running"
	onNothing    mechanism = "dead"
	onOther      mechanism = "other"
)

// waitRule recognises a mechanism by a function anywhere in the chain. The
// rules are tried in order, the decisive ones first, because an outer function
// can say more than the inner one: getrandom sleeps in schedule_timeout.
type waitRule struct {
	mech mechanism
	what string
	why  string
	hard int
	fns  string // with blanks between them
}

var waitRules = []waitRule{
	{onEntropy, "entropy", "the kernel's random number generator was never seeded", 100,
		"wait_for_random_bytes try_to_generate_entropy random_read_iter random_read _random_read get_random_bytes_wait"},
	{onHelper, "usermodehelper", "a program that the kernel started", 80,
		"call_usermodehelper_exec call_usermodehelper_exec_work __request_module request_module wait_for_helper"},
	{onIdempotent, "module", "another task that loads the same module", 80,
		"idempotent_wait_for_completion idempotent_init_module_wait finished_loading add_unformed_module"},
	{onRootDevice, "root device", "the root device to appear", 95,
		"wait_for_root wait_for_device_probe_root"},
	{onDevtmpfs, "devtmpfs", "kdevtmpfs to make a device node", 80,
		"devtmpfs_submit_req devtmpfs_create_node devtmpfs_delete_node"},
	{onAsync, "async work", "asynchronous driver work to finish", 80,
		"async_synchronize_cookie_domain async_synchronize_cookie async_synchronize_full async_synchronize_full_domain"},
	{onProbes, "driver probes", "the running driver probes to finish", 80,
		"wait_for_device_probe"},
	{onRCU, "rcu", "an RCU grace period", 82,
		"synchronize_rcu synchronize_rcu_expedited synchronize_rcu_normal wait_rcu_gp __wait_rcu_gp wait_rcu_exp_gp rcu_barrier synchronize_srcu __synchronize_srcu synchronize_sched"},
	{onMutex, "mutex", "a mutex", 90,
		"mutex_lock __mutex_lock __mutex_lock_slowpath mutex_lock_nested mutex_lock_interruptible mutex_lock_killable __mutex_lock_interruptible_slowpath __mutex_lock_killable_slowpath __ww_mutex_lock rt_mutex_slowlock __rt_mutex_slowlock rt_mutex_lock __mutex_lock_common"},
	{onRWSem, "rw-semaphore", "a read-write semaphore", 90,
		"rwsem_down_read_slowpath rwsem_down_write_slowpath rwsem_down_read_failed rwsem_down_write_failed __down_read __down_write down_read down_write down_read_killable down_write_killable percpu_rwsem_wait __percpu_down_read percpu_down_write call_rwsem_down_read_failed call_rwsem_down_write_failed __rwsem_down_write_failed_common"},
	{onSemaphore, "semaphore", "a semaphore", 90,
		"__down ___down_common __down_common __down_interruptible __down_killable __down_timeout"},
	{onFlush, "workqueue", "a work item to finish", 80,
		"__flush_work flush_work flush_workqueue __flush_workqueue drain_workqueue cancel_work_sync __cancel_work_sync __cancel_work_timer cancel_delayed_work_sync work_on_cpu work_on_cpu_key"},
	{onFileLock, "file lock", "a file lock" + otherHolds, 70,
		"flock_lock_inode_wait locks_lock_inode_wait fcntl_setlk fcntl_setlk64 do_lock_file_wait posix_lock_inode_wait"},
	{onFuse, "fuse", "a FUSE server's answer", 72,
		"request_wait_answer __fuse_simple_request fuse_simple_request fuse_request_send"},
	{onNetFS, "network", "a network file server's answer", 72,
		"rpc_wait_bit_killable nfs4_run_open_task p9_client_rpc p9_virtio_zc_request cifs_send_recv wait_for_response"},
	{onIO, "I/O", "a block device to answer", 86,
		"io_schedule io_schedule_timeout folio_wait_bit_common folio_wait_bit wait_on_page_bit wait_on_page_bit_common __wait_on_buffer submit_bio_wait blk_execute_rq blk_mq_get_tag jbd2_log_wait_commit __lock_page folio_lock __folio_lock sleep_on_page bit_wait_io sync_buffer blk_wait_io wait_on_page_read blkdev_issue_flush scsi_execute_cmd __scsi_execute"},
	{onVfork, "vfork", "its vfork child to start a program", 60,
		"wait_for_vfork_done wait_for_vfork"},
	{onChild, "wait4", "a child process", 5,
		"do_wait kernel_wait4 kernel_waitid __do_wait do_wait4 wait_task_zombie"},
	{onFirmware, "firmware", "user space to load a firmware file", 84,
		"fw_sysfs_wait_timeout fw_load_sysfs_fallback firmware_fallback_sysfs _request_firmware_load fw_load_from_user_helper"},
	{onCompletion, "completion", "another part of the kernel to signal it", 84,
		"wait_for_completion wait_for_completion_timeout wait_for_completion_killable wait_for_completion_interruptible wait_for_completion_interruptible_timeout wait_for_completion_killable_timeout wait_for_completion_io __wait_for_common wait_for_common wait_for_completion_state"},
	{onFifo, "fifo", "the other end of a FIFO to be opened", 40,
		"fifo_open wait_for_partner"},
	{onPipe, "pipe", "the other end of a pipe", 30,
		"pipe_read anon_pipe_read pipe_wait pipe_wait_readable pipe_wait_writable pipe_write anon_pipe_write"},
	{onSocket, "unix socket", "the peer of a socket", 28,
		"unix_stream_read_generic unix_stream_data_wait unix_stream_connect unix_wait_for_peer unix_stream_recvmsg unix_dgram_recvmsg __skb_wait_for_more_packets sk_wait_data tcp_recvmsg netlink_recvmsg sock_alloc_send_pskb inet_wait_for_connect inet_stream_connect"},
	{onTTYWrite, "terminal", "its terminal to take the output", 45,
		"tty_wait_until_sent uart_wait_until_sent n_tty_write tty_write_lock do_output_char"},
	{onTTY, "terminal", "input on its terminal", 10,
		"n_tty_read tty_read wait_woken_tty hvc_open"},
	{onFutex, "futex", "another thread (futex)", 20,
		"futex_wait_queue futex_wait_queue_me futex_wait __futex_wait futex_do_wait do_futex"},
	{onPoll, "epoll", "an event (epoll)", 5,
		"ep_poll do_epoll_wait"},
	{onPoll, "poll", "an event (poll)", 5,
		"do_sys_poll do_poll poll_schedule_timeout"},
	{onPoll, "select", "an event (select)", 5,
		"do_select core_sys_select do_pselect"},
	{onSignal, "signal", "a signal", 5,
		"do_sigtimedwait sigsuspend do_rt_sigtimedwait"},
	// Daemons poll; what pauses does nothing else, such as `sleep infinity`.
	{onSignal, "pause", "a signal", 13,
		"__do_sys_pause __x64_sys_pause __arm64_sys_pause sys_pause __se_sys_pause"},
	{onSleep, "sleep", "a timer", 15,
		"do_nanosleep hrtimer_nanosleep common_nsleep msleep msleep_interruptible usleep_range usleep_range_state ssleep fsleep"},
	{onStop, "stop signal", "a SIGCONT, because it was stopped", 60,
		"do_signal_stop ptrace_stop do_jobctl_trap"},
}

// waitIndex gives the first rule of a function.
var waitIndex = func() map[string]int {
	m := make(map[string]int)
	for i, r := range waitRules {
		for f := range strings.FieldsSeq(r.fns) {
			if _, ok := m[f]; !ok {
				m[f] = i
			}
		}
	}
	return m
}()

// interruptible says that tasks sleep on it in state S only: a task in state D is
// below that function for another reason.
func interruptible(m mechanism) bool {
	switch m {
	case onPipe, onFifo, onSocket, onTTY, onFutex, onPoll, onSignal, onChild, onFileLock:
		return true
	}
	return false
}

func isLockWait(m mechanism) bool { return m == onMutex || m == onRWSem || m == onSemaphore }
