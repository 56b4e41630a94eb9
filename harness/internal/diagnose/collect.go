package diagnose

import (
	"cmp"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// collect picks the tasks to reason about. Memory leads where its list is complete:
// it is read at one moment, and shows what no kernel prints. A sysrq-t fills in
// what memory lacks, and leads where memory is partial. Then come the last torn
// sysrq-t, the last sysrq-w, and the tasks that the reports printed.
func collect(l log, in Input) *taskSet {
	s := &taskSet{
		log:   l,
		byPID: map[int]*model.Task{}, children: map[int][]*model.Task{}, asPrinted: map[int]*model.Task{},
		waits: map[*model.Task]wait{}, source: sourceConsole,
		from: map[*model.Task]string{}, objects: map[int]*model.Wait{},
	}
	for i := range in.Waits {
		s.objects[in.Waits[i].PID] = &in.Waits[i]
	}
	from := l.start()
	sec, ok := latest(l, dump.SectionState, max(from, in.Asked))
	if in.Asked > from && (!ok || len(sec.Tasks) == 0) {
		if old, found := latest(l, dump.SectionState, from); found && len(old.Tasks) > 0 {
			sec, ok, s.old = old, true, true
		}
	}
	if ok {
		s.swallowed = len(sec.Tasks) == 0
		ok = !s.swallowed
	}
	if ok && !s.old {
		s.setPrinted(sec)
	}
	whole := ok && sec.Complete
	switch {
	case len(in.Memory) > 0 && (!in.MemoryPartial || !whole):
		s.memory(in.Memory)
		if whole {
			s.section = sec
		}
		if s.torn = in.MemoryPartial; s.torn && ok {
			s.rest(sec.Tasks, sourceState)
		}
	case ok:
		s.use(sec, sourceState)
		s.rest(in.Memory, sourceMemory)
	default:
		if sec, ok := l.Last(dump.SectionBlocked); ok && sec.Offset >= from && len(sec.Tasks) > 0 {
			s.use(sec, sourceBlocked)
		}
	}
	from = max(from, l.end()) // a task that khungtaskd showed before has gone on
	for i := range l.Loose {
		t := &l.Loose[i]
		nameless := t.PID == 0 && t.Comm == model.NoComm
		if (t.PID > 0 || nameless) && t.Offset >= from && s.byPID[t.PID] == nil {
			s.add(t, sourceConsole)
		}
	}
	s.onlyStack()
	for _, t := range s.all {
		s.children[s.parent(t)] = append(s.children[s.parent(t)], t)
	}
	return s
}

// latest is the last complete section of a kind from an offset on, else the last
// one with tasks, else the last.
func latest(l log, kind dump.SectionKind, from int64) (*dump.Section, bool) {
	i, _ := slices.BinarySearchFunc(l.Sections, from, func(s dump.Section, from int64) int { return cmp.Compare(s.Offset, from) })
	part := dump.Dump{Sections: l.Sections[i:]}
	return part.Last(kind)
}

// onlyStack takes the one stack of a log in which a tool printed nothing else for that
// of what hangs: that is why somebody looked at it.
func (s *taskSet) onlyStack() {
	if len(s.all) != 1 || s.all[0].State != stateUnknown {
		return
	}
	t := s.all[0]
	if w := s.waits[t]; w.mech == onOther && w.fn != "" && !dump.IsGeneric(w.fn) {
		w.what, w.why, w.hard = "the kernel", "something in the kernel", 84
		s.waits[t] = w
	}
}

func (s *taskSet) add(t *model.Task, source string) {
	if isDumper(t) {
		return
	}
	s.from[t] = source
	s.all = append(s.all, t)
	if old := s.byPID[t.PID]; old == nil || len(old.Frames) == 0 {
		s.byPID[t.PID] = t
	}
	s.waits[t] = classify(t)
}

func (s *taskSet) setPrinted(sec *dump.Section) {
	s.printed = sec
	for i := range sec.Tasks {
		s.asPrinted[sec.Tasks[i].PID] = &sec.Tasks[i]
	}
}

func (s *taskSet) use(sec *dump.Section, source string) {
	s.source, s.section, s.torn = source, sec, !sec.Complete
	for i := range sec.Tasks {
		s.add(&sec.Tasks[i], source)
	}
}

// memory adds the tasks that memory shows, with the printed stack where memory has
// no complete one.
func (s *taskSet) memory(tasks []model.Task) {
	s.source = sourceMemory
	for _, t := range tasks {
		source := sourceMemory
		if p := s.asPrinted[t.PID]; p != nil && lacksStack(&t, p) {
			t.Frames, source = p.Frames, sourceState
			t.Offset, t.End, t.Caller = p.Offset, p.End, p.Caller
			if t.Syscall == nil {
				t.Syscall = p.Syscall
			}
		}
		if t.Syscall == nil && !t.KernelThread {
			if name, compat := dump.SyscallFromFrames(t.Frames); name != "" {
				t.Syscall = &model.Syscall{Nr: -1, Name: name, Compat: compat}
			}
		}
		s.add(&t, source)
	}
}

// lacksStack says that the stack of a sleeping task is incomplete in memory and
// complete as printed, for the same task in the same state.
func lacksStack(m, p *model.Task) bool {
	return !m.Running && !p.Running && !p.Torn && m.Comm == p.Comm && m.State == p.State &&
		!dump.EndsStack(m.Chain()) && dump.EndsStack(p.Chain())
}

// rest adds the tasks of a second source that the first does not have.
func (s *taskSet) rest(tasks []model.Task, source string) {
	for i := range tasks {
		if t := &tasks[i]; s.byPID[t.PID] == nil {
			s.add(t, source)
		}
	}
}
