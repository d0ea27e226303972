package vm

import (
	"container/heap"
	"time"
)

// maxTimers bounds the timers of one run: they are held outside of the engine's memory limit.
const maxTimers = 10_000

type timer struct {
	id  int
	due time.Time
	seq uint64
}

// timerQueue holds the timers of a machine by due time, first set first for equal times. It implements heap.Interface.
// A cleared timer stays until it is due and then does nothing, so the queue also counts dead ones.
type timerQueue struct {
	heap []timer
	live map[int]uint64 // id → seq of its current setting
	seq  uint64
}

func (q *timerQueue) set(id int, due time.Time) bool {
	if len(q.heap) >= maxTimers {
		q.compact()
		if len(q.heap) >= maxTimers {
			return false
		}
	}
	if q.live == nil {
		q.live = map[int]uint64{}
	}
	q.seq++
	q.live[id] = q.seq
	heap.Push(q, timer{id: id, due: due, seq: q.seq})
	return true
}

func (q *timerQueue) clear(id int) {
	delete(q.live, id)
	if len(q.live) == 0 {
		q.heap = q.heap[:0]
	}
}

// compact drops what was cleared.
func (q *timerQueue) compact() {
	kept := q.heap[:0]
	for _, t := range q.heap {
		if q.live[t.id] == t.seq {
			kept = append(kept, t)
		}
	}
	q.heap = kept
	heap.Init(q)
}

// next is when the first timer is due. The queue must not be empty.
func (q *timerQueue) next() time.Time { return q.heap[0].due }

// pop takes the first timer if it is due; false if none is, or if that one was cleared.
func (q *timerQueue) pop(now time.Time) (id int, ok bool) {
	if len(q.heap) == 0 || q.heap[0].due.After(now) {
		return 0, false
	}
	t := heap.Pop(q).(timer)
	if q.live[t.id] != t.seq {
		return 0, false
	}
	q.clear(t.id)
	return t.id, true
}

func (q *timerQueue) Len() int { return len(q.heap) }
func (q *timerQueue) Less(i, j int) bool {
	a, b := q.heap[i], q.heap[j]
	return a.due.Before(b.due) || a.due.Equal(b.due) && a.seq < b.seq
}
func (q *timerQueue) Swap(i, j int) { q.heap[i], q.heap[j] = q.heap[j], q.heap[i] }
func (q *timerQueue) Push(x any)    { q.heap = append(q.heap, x.(timer)) }
func (q *timerQueue) Pop() any {
	last := len(q.heap) - 1
	t := q.heap[last]
	q.heap = q.heap[:last]
	return t
}
