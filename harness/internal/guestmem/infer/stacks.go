package infer

import (
	"math/bits"
	"strings"
)

// The bounds of a kernel stack, in bytes: 16 KiB, more under KASAN and with pages of
// 64 KiB.
const (
	minStack = 8 << 10
	maxStack = 128 << 10
	pageMask = 4<<10 - 1
)

// saved is where a task keeps what it is resumed with.
type saved struct{ stack, sp uint64 }

// stacks finds task_struct.stack and the saved stack pointer: the one points to a page of
// each task's own, the other into the stack there, to what __switch_to left.
func (g *guess) stacks() error {
	var found []saved
	for off := uint64(0); off < g.realParent; off += word {
		if !g.areStacks(off) {
			continue
		}
		for sp := g.comm; sp+2*word <= uint64(len(g.init.b)); sp += word {
			if g.areSaved(off, sp) {
				found = append(found, saved{off, sp})
			}
		}
	}
	if len(found) != 1 {
		return unknown("%d places may hold the saved stack pointer", len(found))
	}
	c := found[0]
	g.set("task_struct.stack", c.stack, word)
	g.set("thread_union", 0, g.stackSize(c))
	regs := g.k.Image.ISA.Saved
	for i, path := range [][]string{regs.FP, regs.SP, regs.PC} { // in this order
		if path != nil {
			g.set("task_struct."+strings.Join(path, "."), c.sp+word*uint64(i)-word, word)
		}
	}
	return nil
}

// areStacks says that an offset holds pages that each task has for itself. One that has
// ended has given its stack back.
func (g *guess) areStacks(off uint64) bool {
	seen, none := map[uint64]bool{}, 0
	for _, t := range g.all {
		v := t.at(off)
		if v == 0 {
			none++
			continue
		}
		if v>>63 == 0 || v&pageMask != 0 || seen[v] {
			return false
		}
		seen[v] = true
	}
	return g.init.at(off) != 0 && none <= len(g.all)/4
}

// areSaved says that an offset holds the saved stack pointer of every task. Of a task that
// runs, or ran while it was read, it may lead to what was overwritten since.
func (g *guess) areSaved(stack, off uint64) bool {
	stale := 0
	for _, t := range g.all {
		if off+2*word > uint64(len(t.b)) {
			return false
		}
		base, sp := t.at(stack), t.at(off)
		if base == 0 {
			continue
		}
		if sp&7 != 0 || sp <= base || sp-base > maxStack {
			return false
		}
		if !g.resumes(t, base, off) {
			if stale++; stale > g.cpus+len(g.all)/10 {
				return false
			}
		}
	}
	return stale < len(g.all)/2
}

// resumes says that the saved registers are those with which a task is resumed. Where the
// kernel saves the program counter beside the stack pointer, it is there, else on the
// stack, above six saved registers (arch/x86/include/asm/switch_to.h, struct
// inactive_task_frame).
func (g *guess) resumes(t *task, base, off uint64) bool {
	if g.k.Image.ISA.Saved.PC == nil {
		const ret = 48
		pc, err := g.k.Space.Uint64(t.at(off) + ret)
		return err == nil && g.isCode(pc, "")
	}
	fp := t.at(off - word)
	return (fp == 0 || fp >= base && fp-base <= maxStack) && (g.isCode(t.at(off+word), "__switch_to") || g.isCode(t.at(off+word), "ret_from_fork"))
}

// isCode says that an address lies in the function of that name, "" for any.
func (g *guess) isCode(pc uint64, want string) bool {
	table := g.k.Image.Symbols
	link := pc - g.k.Offset
	start, ok1 := table.Lookup("_stext")
	end, ok2 := table.Lookup("_etext")
	if !ok1 || !ok2 || link < start || link >= end {
		return false
	}
	if want == "" {
		return true
	}
	name, _, _, ok := table.Nearest(link)
	return ok && name == want
}

// stackSize is THREAD_SIZE: tasks sleep near the upper end of their stacks, so the next
// power of two tells; the largest that any task needs.
func (g *guess) stackSize(c saved) uint64 {
	size := uint64(minStack)
	for _, t := range g.all {
		if base := t.at(c.stack); base != 0 {
			used := t.at(c.sp) - base
			size = max(size, 1<<bits.Len64(used))
		}
	}
	return min(size, maxStack)
}
