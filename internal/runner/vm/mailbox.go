package vm

import "sync"

// event is an answered host call, or with call 0 just a reason to look around.
type event struct {
	call uint32
	ok   bool
	text string
}

// mailbox hands events to the VM's goroutine without ever blocking the sender, which serves other machines too. It holds at
// most one event per host call in flight.
type mailbox struct {
	mu     sync.Mutex
	events []event
	wake   chan struct{} // has one element if events may be there
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) put(e event) {
	m.mu.Lock()
	m.events = append(m.events, e)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() (e event, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) == 0 {
		return event{}, false
	}
	e = m.events[0]
	m.events[0] = event{}
	if m.events = m.events[1:]; len(m.events) == 0 {
		m.events = nil
	}
	return e, true
}
