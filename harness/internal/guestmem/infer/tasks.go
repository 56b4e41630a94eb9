package infer

import (
	"context"
	"encoding/binary"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
)

// maxTasks bounds the tasks that are read: a boot has some hundred.
const maxTasks = 1 << 13

// task is what lies where a task_struct begins.
type task struct {
	addr   uint64
	b      []byte
	leader *task  // of its process; itself for the leader
	head   uint64 // of the list of the process's threads
}

// at is the word at an offset.
func (t *task) at(off uint64) uint64 { return binary.LittleEndian.Uint64(t.b[off:]) }

// half is the 32 bits at an offset.
func (t *task) half(off uint64) uint32 { return binary.LittleEndian.Uint32(t.b[off:]) }

// guess is one inference.
type guess struct {
	ctx   context.Context
	k     *locate.Kernel
	mem   physmem.Reader
	cpus  int
	image *kimage.Types
	// init is init_task, leaders are the processes' first threads with it, all are
	// the leaders and the other threads.
	init         *task
	leaders, all []*task
	known        map[uint64]*task // all by address
	out          map[string]field

	comm, realParent, groupLeader uint64
}

// Memory infers how the tasks of a kernel that was found in a guest's memory are laid out,
// of which at most cpus run. The types hold what could be verified; what a list of tasks
// cannot do without is always there.
func Memory(ctx context.Context, k *locate.Kernel, m physmem.Reader, cpus int) (*kimage.Types, error) {
	g := &guess{ctx: ctx, k: k, mem: m, cpus: max(1, cpus), image: k.Image.Types, out: map[string]field{}, known: map[uint64]*task{}}
	for name, to := range map[string]*uint64{"comm": &g.comm, "real_parent": &g.realParent, "group_leader": &g.groupLeader} {
		f, err := g.image.Field("task_struct", name)
		if err != nil {
			return nil, err
		}
		*to = f.Off
	}
	for _, step := range []func() error{g.processes, g.threads, g.parents, g.pids, g.stacks, g.states} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	g.addressSpaces()
	g.exits()
	g.runqueue()
	g.userSpace()
	constants(g.out)
	return kimage.Known(kimage.Inferred, g.out).Or(g.image), nil
}

func (g *guess) set(name string, off, size uint64) {
	g.out[name] = field{Off: off, Size: size}
}

// read reads what may be a task: it must have a name.
func (g *guess) read(addr uint64) (*task, bool) {
	if addr&7 != 0 || addr>>63 == 0 {
		return nil, false
	}
	b := make([]byte, maxTask)
	n := maxTask
	for n > int(g.comm)+1024 && g.k.Space.Read(addr, b[:n]) != nil {
		n -= 1024
	}
	if n <= int(g.comm)+1024 {
		return nil, false
	}
	t := &task{addr: addr, b: b[:n]}
	return t, named(b[g.comm : g.comm+commSize])
}

// named says that the bytes are a name that a task may have.
func named(b []byte) bool {
	for i, c := range b {
		if c == 0 {
			return i > 0
		}
	}
	return false
}

// processes finds task_struct.tasks: the only list through init_task that closes, both
// ways, over more than one thing with a name.
func (g *guess) processes() error {
	addr, ok := g.k.Addr("init_task")
	if !ok {
		return unknown("no init_task")
	}
	if g.init, ok = g.read(addr); !ok {
		return unknown("init_task has no name")
	}
	found := 0
	for off := uint64(0); off < g.realParent; off += word {
		if list, ok := g.follow(off); ok {
			found++
			g.leaders = list
			g.set("task_struct.tasks", off, listHead)
		}
	}
	switch {
	case found != 1:
		return unknown("%d lists may be that of the processes", found)
	case g.ctx.Err() != nil:
		return g.ctx.Err()
	}
	return nil
}

// follow follows the list through an offset of init_task.
func (g *guess) follow(off uint64) ([]*task, bool) {
	t := g.init
	list := []*task{t}
	for len(list) <= maxTasks && g.ctx.Err() == nil {
		next := t.at(off) - off
		if next == g.init.addr {
			return list, len(list) > 1 && g.init.at(off+word)-off == t.addr
		}
		n, ok := g.read(next)
		if !ok || n.at(off+word)-off != t.addr || n.at(g.groupLeader) != next {
			return nil, false
		}
		list = append(list, n)
		t = n
	}
	return nil, false
}

// reach is how far behind group_leader thread_node lies, and behind comm signal.
const reach = 0x200

// threads finds task_struct.thread_node and signal, and signal_struct.thread_head: each
// process's list of threads has one node that is no thread, its head, and that lies
// equally far from where signal points to, in every process.
func (g *guess) threads() error {
	type place struct{ node, signal, head uint64 }
	var found []place
	var all []*task
	for node := g.groupLeader + word; node < g.groupLeader+reach; node += word {
		list, ok := g.followThreads(node)
		if !ok {
			continue
		}
		for signal := g.comm + commSize; signal < g.comm+4*reach && signal+word <= uint64(len(g.init.b)); signal += word {
			if head, ok := g.headAt(signal); ok {
				found = append(found, place{node, signal, head})
				all = list
			}
		}
	}
	if len(found) != 1 {
		return unknown("%d places may hold the list of threads", len(found))
	}
	g.all = all
	for _, t := range all {
		g.known[t.addr] = t
	}
	g.set("task_struct.thread_node", found[0].node, listHead)
	g.set("task_struct.signal", found[0].signal, word)
	g.set("signal_struct.thread_head", found[0].head, listHead)
	return nil
}

// followThreads follows the lists through an offset of each leader.
func (g *guess) followThreads(node uint64) ([]*task, bool) {
	var all []*task
	for _, leader := range g.leaders {
		leader.leader, leader.head = leader, 0
		all = append(all, leader)
		prev, at := leader.addr+node, leader.at(node)
		for at != leader.addr+node {
			back, err := g.k.Space.Uint64(at + word)
			if err != nil || back != prev || len(all) > maxTasks || g.ctx.Err() != nil {
				return nil, false
			}
			next, err := g.k.Space.Uint64(at)
			if err != nil {
				return nil, false
			}
			if t, ok := g.read(at - node); ok && t.at(g.groupLeader) == leader.addr {
				t.leader = leader
				all = append(all, t)
			} else if leader.head != 0 {
				return nil, false // a second node that is no thread
			} else {
				leader.head = at
			}
			prev, at = at, next
		}
		if leader.head == 0 {
			return nil, false
		}
	}
	return all, true
}

// maxHead is how far from the beginning of signal_struct thread_head may be.
const maxHead = 256

// headAt is how far each process's head lies from where an offset points to, if that is
// equally far in all.
func (g *guess) headAt(signal uint64) (uint64, bool) {
	head := g.init.head - g.init.at(signal)
	for _, t := range g.leaders {
		if v := t.at(signal); v>>63 == 0 || t.head-v != head {
			return 0, false
		}
	}
	return head, head > 0 && head < maxHead
}

// parents verifies that each task's parent is a task.
func (g *guess) parents() error {
	for _, t := range g.all {
		if g.known[t.at(g.realParent)] == nil {
			return unknown("the parent of a task is no task")
		}
	}
	g.set("task_struct.real_parent", g.realParent, word)
	return nil
}

// maxPID is PID_MAX_LIMIT (include/linux/threads.h).
const maxPID = 4 << 20

// pids finds task_struct.pid and tgid: two small numbers before real_parent, equal in
// each leader, different in all tasks; what the leader has twice its threads have second.
func (g *guess) pids() error {
	var found []uint64
	for _, back := range []uint64{8, 16} { // a stack canary may stand between
		if off := g.realParent - back; g.arePIDs(off) {
			found = append(found, off)
		}
	}
	if len(found) != 1 {
		return unknown("%d places may hold the PID", len(found))
	}
	g.set("task_struct.pid", found[0], 4)
	g.set("task_struct.tgid", found[0]+4, 4)
	return nil
}

func (g *guess) arePIDs(off uint64) bool {
	seen := map[uint32]bool{}
	for _, t := range g.all {
		pid, tgid := t.half(off), t.half(off+4)
		if pid > maxPID || seen[pid] || tgid != t.leader.half(off) || (t == t.leader) != (pid == tgid) || (t == g.init) != (pid == 0) {
			return false
		}
		seen[pid] = true
	}
	return seen[1]
}

// pid is a task's PID, once pids has found where it is.
func (g *guess) pid(t *task) uint32 { return t.half(g.out["task_struct.pid"].Off) }
