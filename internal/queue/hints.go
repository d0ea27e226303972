package queue

import (
	"sync"
	"time"
)

// lane is a queue that this process works on. Its counters are guarded by hints.mu.
type lane struct {
	name    string
	workers int
	busy    int
	// look: there may be ready jobs.
	look bool
}

// anythingDue, among the queues of a hint, says that a schedule may have become due. No queue has this name.
const anythingDue = "*"

// hints is what the dispatcher has been told since it last looked.
type hints struct {
	mu    sync.Mutex
	lanes map[string]*lane
	next  time.Time // the earliest time at which something is due; zero for unknown
	far   map[string]struct{}

	wake   chan struct{} // to the dispatcher
	remote chan struct{} // to sendHints
}

func (h *hints) init(lanes []*lane) {
	h.lanes = make(map[string]*lane, len(lanes))
	for _, l := range lanes {
		h.lanes[l.name] = l
	}
	h.far = map[string]struct{}{}
	h.wake = make(chan struct{}, 1)
	h.remote = make(chan struct{}, 1)
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it has not looked at the last one yet
	}
}

// add notes ready jobs in queues, for this node and the others, and that something is due at next (zero: nothing new).
func (h *hints) add(queues []string, next time.Time) {
	h.local(queues)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range queues {
		h.far[q] = struct{}{}
	}
	if len(queues) > 0 {
		poke(h.remote)
	}
	if h.merge(next) {
		poke(h.wake)
	}
}

func (h *hints) merge(next time.Time) bool {
	earlier := !next.IsZero() && (h.next.IsZero() || next.Before(h.next))
	if earlier {
		h.next = next
	}
	return earlier
}

// due notes for the dispatcher itself when something is due.
func (h *hints) due(next time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.merge(next)
}

// local notes ready jobs in queues for this node only.
func (h *hints) local(queues []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range queues {
		if q == anythingDue && len(h.lanes) > 0 && h.merge(time.Unix(1, 0)) {
			poke(h.wake)
		}
		if l := h.lanes[q]; l != nil {
			l.look = true
			if l.busy < l.workers {
				poke(h.wake)
			}
		}
	}
}

// all notes that any queue may have ready jobs.
func (h *hints) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		l.look = true
	}
	poke(h.wake)
}

func (h *hints) takeRemote() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	queues := make([]string, 0, len(h.far))
	for q := range h.far {
		queues = append(queues, q)
	}
	clear(h.far)
	return queues
}

// forgetNext comes before the tables are asked when something is due.
func (h *hints) forgetNext() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = time.Time{}
}

func (h *hints) nextDue() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

// begin returns how many jobs the lane may claim now and forgets the hint; 0 when there is no hint or no free worker.
func (h *hints) begin(l *lane) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	free := l.workers - l.busy
	if !l.look || free <= 0 {
		return 0
	}
	l.look = false
	return free
}

// started counts claimed jobs; look says that more may be ready.
func (h *hints) started(l *lane, jobs int, look bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.busy += jobs
	l.look = l.look || look
}

// ended frees a worker.
func (h *hints) ended(l *lane) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.busy--
	if l.look {
		poke(h.wake)
	}
}
