package qmp

import (
	"encoding/json"
	"sync"
	"time"
)

// maxEvent is the longest event line, in bytes, whose data is kept. It bounds
// the memory of backlog and subscriptions; QEMU's events have some hundreds.
const maxEvent = 64 << 10

// Event is an asynchronous event of QEMU.
type Event struct {
	// Name is QEMU's, such as "SHUTDOWN" or "GUEST_PANICKED".
	Name string
	// Time is the host's wall clock when QEMU made the event; zero when QEMU
	// could not tell (it then sends -1).
	Time time.Time
	// Data is the event's data object; nil when there is none, or when the
	// event was too long to keep, and then Truncated is set.
	Data      json.RawMessage
	Truncated bool
}

func (m *message) event(length int) Event {
	e := Event{Name: m.Event}
	if t := m.Timestamp; t != nil && t.Seconds >= 0 && t.Microseconds >= 0 {
		e.Time = time.Unix(t.Seconds, t.Microseconds*int64(time.Microsecond))
	}
	if length > maxEvent {
		e.Name, e.Truncated = cut(m.Event), true
		return e
	}
	e.Data = m.Data
	return e
}

// hub passes events on. It never waits: a full subscription loses its oldest
// event and counts it.
type hub struct {
	mu      sync.Mutex
	limit   int
	backlog []Event // the newest, oldest first
	lost    uint64  // fell out of the backlog
	subs    map[*Subscription]struct{}
	closed  bool
}

func newHub(limit int) *hub {
	return &hub{limit: limit, subs: make(map[*Subscription]struct{})}
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if len(h.backlog) >= h.limit {
		h.backlog = h.backlog[1:]
		h.lost++
	}
	h.backlog = append(h.backlog, e)
	for s := range h.subs {
		s.push(e)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		close(s.queue)
	}
	clear(h.subs)
}

// Subscription is one reader's view of the events.
type Subscription struct {
	// C gives the events in order: first those since the connection began,
	// then new ones. It is closed by Close and at the end of the connection,
	// when what was queued can still be read.
	C <-chan Event

	queue   chan Event
	hub     *hub
	dropped uint64 // guarded by hub.mu
}

// Subscribe opens a subscription that can hold size events its reader has not
// taken yet; size of zero or less means Options.Backlog. When it is full the
// oldest goes, so the newest are always there. Events before the subscription
// are replayed, as many as the backlog holds. On an ended connection it gives
// what the backlog holds and then the end.
func (c *Conn) Subscribe(size int) *Subscription {
	h := c.events
	h.mu.Lock()
	defer h.mu.Unlock()
	if size <= 0 {
		size = h.limit
	}
	queue := make(chan Event, size)
	s := &Subscription{C: queue, queue: queue, hub: h, dropped: h.lost}
	for _, e := range h.backlog {
		s.push(e)
	}
	if h.closed {
		close(queue)
		return s
	}
	h.subs[s] = struct{}{}
	return s
}

// push is called with the hub locked, so it is the only sender.
func (s *Subscription) push(e Event) {
	for {
		select {
		case s.queue <- e:
			return
		default:
		}
		select {
		case <-s.queue:
			s.dropped++
		default: // the reader made room meanwhile
		}
	}
}

// Dropped counts the events this subscription never gave: those older than
// the backlog, and those its reader was too slow for.
func (s *Subscription) Dropped() uint64 {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.dropped
}

// Close ends the subscription and closes C. Closing twice is harmless.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if _, ok := s.hub.subs[s]; ok {
		delete(s.hub.subs, s)
		close(s.queue)
	}
}
