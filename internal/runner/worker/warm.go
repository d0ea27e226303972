package worker

import (
	"sync"

	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

// stock keeps machines ready, so that a run starts without the milliseconds of making one: with zod for the bundles that
// require it, without for the others. Only kinds that were asked for are kept. Its goroutine lives as long as the process.
type stock struct {
	engine *vm.Engine
	keep   int

	mu     sync.Mutex
	ready  map[bool][]*vm.VM // by zod
	wanted map[bool]bool

	refill chan struct{}
}

func newStock(engine *vm.Engine, keep int) *stock {
	s := &stock{
		engine: engine,
		keep:   keep,
		ready:  map[bool][]*vm.VM{},
		wanted: map[bool]bool{true: true}, // nearly every function uses zod
		refill: make(chan struct{}, 1),
	}
	go s.work()
	s.hint()
	return s
}

// take returns a machine, a ready one if there is one.
func (s *stock) take(zod bool) (*vm.VM, error) {
	s.mu.Lock()
	s.wanted[zod] = true
	if list := s.ready[zod]; len(list) > 0 {
		m := list[len(list)-1]
		s.ready[zod] = list[:len(list)-1]
		s.mu.Unlock()
		return m, nil
	}
	s.mu.Unlock()
	return s.engine.New(zod)
}

// hint says that now is a good time to make machines: call it when a run has ended.
func (s *stock) hint() {
	select {
	case s.refill <- struct{}{}:
	default:
	}
}

func (s *stock) work() {
	for range s.refill {
		for s.add() {
		}
	}
}

// add makes one machine that is missing; false if none is.
func (s *stock) add() bool {
	s.mu.Lock()
	var kind, missing bool
	for zod := range s.wanted {
		if len(s.ready[zod]) < s.keep {
			kind, missing = zod, true
		}
	}
	s.mu.Unlock()
	if !missing {
		return false
	}
	m, err := s.engine.New(kind)
	if err != nil {
		return false // the run that needs one will report why
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready[kind] = append(s.ready[kind], m)
	return true
}
