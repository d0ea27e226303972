package runner

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// place waits for a free place in a process of the tenant. Give it back with release.
func (p *Pool) place(ctx context.Context, tenant string) (*process, error) {
	p.mu.Lock()
	if p.stopping {
		p.mu.Unlock()
		return nil, ErrStopped
	}
	w := &waiter{place: make(chan *process, 1)}
	p.waiting[tenant] = append(p.waiting[tenant], w)
	p.dispatch()
	p.mu.Unlock()

	select {
	case proc, ok := <-w.place:
		if !ok {
			return nil, w.err
		}
		return proc, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(p.waiting[tenant], w)
	if i >= 0 {
		p.waiting[tenant] = slices.Delete(p.waiting[tenant], i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // it was served in this moment
		if proc, ok := <-w.place; ok {
			p.release(proc, tenant)
		}
	}
	return nil, fmt.Errorf("waiting for a runner process: %w", context.Cause(ctx))
}

// release gives a place back and reports whether the run was the only one in the process.
func (p *Pool) release(proc *process, tenant string) (alone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	proc.busy--
	p.running[tenant]--
	if p.running[tenant] == 0 {
		delete(p.running, tenant)
	}
	proc.idle = time.Now()
	if p.opts.Recycle > 0 && proc.assigned >= p.opts.Recycle || proc.full() {
		proc.retiring = true
	}
	if proc.retiring && proc.busy == 0 {
		proc.dismiss()
	}
	p.dispatch()
	return proc.busy == 0
}

// dispatch serves waiting runs while there is room, those of the tenant with the fewest running first, so that a tenant with
// many runs delays only itself. The caller holds p.mu.
func (p *Pool) dispatch() {
	for {
		tenant, proc := p.next()
		if proc == nil {
			return
		}
		w := p.waiting[tenant][0]
		p.waiting[tenant] = p.waiting[tenant][1:]
		if len(p.waiting[tenant]) == 0 {
			delete(p.waiting, tenant)
		}
		proc.tenant, proc.bound = tenant, true
		proc.busy++
		proc.assigned++
		p.running[tenant]++
		w.place <- proc
	}
}

// next picks the tenant to serve and a process with room for it; no process if nobody can be served now. Processes that will
// be needed are set on their way.
func (p *Pool) next() (tenant string, room *process) {
	tenants := make([]string, 0, len(p.waiting))
	for t, list := range p.waiting {
		if len(list) > 0 {
			tenants = append(tenants, t)
		}
	}
	slices.SortFunc(tenants, func(a, b string) int { return p.running[a] - p.running[b] })
	for _, t := range tenants {
		proc := p.roomFor(t)
		switch {
		case proc == nil:
			p.grow(t, true)
			continue
		case proc.busy >= crowded && p.starting[t] == 0:
			p.grow(t, false)
		}
		return t, proc
	}
	return "", nil
}

// roomFor finds the tenant's least busy process, or one that belongs to nobody yet.
func (p *Pool) roomFor(tenant string) *process {
	var best *process
	for _, proc := range p.procs {
		free := !proc.retiring && proc.usable() && proc.busy < p.opts.VMs && (!proc.bound || proc.tenant == tenant)
		if free && (best == nil || proc.bound && !best.bound || proc.bound == best.bound && proc.busy < best.busy) {
			best = proc
		}
	}
	return best
}

// crowded is from how many runs on a process gets company, if there may be one more: runs in few processes share CPUs badly,
// and die together.
const crowded = 8

// grow starts a process for the tenant if there may be one more. If not, and need says that the tenant can not go on without,
// an idle process of another tenant makes room. One tenant never takes the last place for a process, unless it has none.
func (p *Pool) grow(tenant string, need bool) {
	if len(p.waiting[tenant]) <= p.starting[tenant]*p.opts.VMs {
		return
	}
	own := p.starting[tenant]
	total := len(p.procs)
	for _, n := range p.starting {
		total += n
	}
	var idle *process
	for _, proc := range p.procs {
		switch {
		case proc.bound && proc.tenant == tenant && !proc.retiring:
			own++
		case proc.busy == 0 && !proc.retiring && (idle == nil || proc.idle.Before(idle.idle)):
			idle = proc
		}
	}
	if own > 0 && own >= p.opts.Workers-1 {
		return
	}
	if total >= p.opts.Workers {
		if idle == nil || !need {
			return
		}
		idle.retiring = true // it still counts until it is gone; its end dispatches again
		idle.dismiss()
		return
	}
	p.starting[tenant]++
	p.tasks.Go(func() { p.addFor(tenant) })
}

// addFor starts a process for a tenant's waiting runs, or tells them that it could not.
func (p *Pool) addFor(tenant string) {
	proc, err := p.launch(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.starting[tenant]--; p.starting[tenant] == 0 {
		delete(p.starting, tenant)
	}
	if err != nil {
		p.opts.Logger.ErrorContext(p.ctx, "no runner process", "tenant", tenant, "err", err)
		p.failWaiters(tenant, fmt.Errorf("%w: %w", ErrWorkerLost, err))
		return
	}
	p.adopt(proc, tenant, true)
	p.dispatch()
}

func (p *Pool) failWaiters(tenant string, err error) {
	for _, w := range p.waiting[tenant] {
		w.err = err
		close(w.place)
	}
	delete(p.waiting, tenant)
}

// adopt makes a process available and buries it when it dies. The caller holds p.mu.
func (p *Pool) adopt(proc *process, tenant string, bound bool) {
	proc.tenant, proc.bound, proc.idle = tenant, bound, time.Now()
	p.procs = append(p.procs, proc)
	p.tasks.Go(func() {
		<-proc.dead
		p.mu.Lock()
		defer p.mu.Unlock()
		p.procs = slices.DeleteFunc(p.procs, func(other *process) bool { return other == proc })
		if !proc.retiring && !p.stopping {
			p.opts.Logger.WarnContext(p.ctx, "runner process died", "err", proc.deathErr, "runs", proc.busy, "stderr", proc.stderr.String())
		}
		p.dispatch()
	})
	if p.stopping {
		proc.kill(ErrStopped)
	}
}
