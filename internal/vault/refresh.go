package vault

import (
	"context"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

// suspect makes the next Seal compare the keyset with the database, and the background loop do so at once.
func (v *Vault) suspect() {
	v.validated.Store(nil)
	select {
	case v.nudge <- struct{}{}:
	default: // it will look anyway
	}
}

// fresh gives a ring that was the stored one less than a lease ago.
func (v *Vault) fresh() (*ring, error) {
	if v.isFresh() {
		return v.ring.Load(), nil
	}
	v.reloading.Lock()
	defer v.reloading.Unlock()
	if v.isFresh() {
		return v.ring.Load(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	return v.reload(ctx)
}

func (v *Vault) isFresh() bool {
	at := v.validated.Load()
	if at == nil {
		return false
	}
	now := v.opts.Now()
	// The wall clock too: the monotonic one stands still while a machine sleeps.
	return max(now.Sub(*at), now.Round(0).Sub(at.Round(0))) < v.opts.Lease
}

// refetch looks for a key this process does not know: another node has rotated, or the value is junk. Junk costs one look per
// refetchEvery whatever its amount; a caller in between waits for the next look and is never turned away without one.
func (v *Vault) refetch(id uint32) (*ring, error) {
	arrived := v.opts.Now()
	v.reloading.Lock()
	defer v.reloading.Unlock()
	if r := v.ring.Load(); r.has(id) || v.looked.After(arrived) {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	if early := refetchEvery - v.opts.Now().Sub(v.refetched); early > 0 {
		if err := v.opts.Wait(ctx, early); err != nil {
			return nil, err
		}
	}
	v.refetched = v.opts.Now()
	return v.reload(ctx)
}

// look reads the keyset from the database.
func (v *Vault) look(ctx context.Context) (*ring, error) {
	v.reloading.Lock()
	defer v.reloading.Unlock()
	return v.reload(ctx)
}

// reload is look for who holds reloading.
func (v *Vault) reload(ctx context.Context) (*ring, error) {
	started := v.opts.Now()
	stored, err := v.opts.Store.Keysets(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the keyset: %w", err)
	}
	return v.take(stored, started)
}

// take makes what was read at the given time the ring in use. The keys are opened only if they changed, so a process that was
// started with the previous master key goes on until the next rotation.
func (v *Vault) take(stored []StoredKeyset, at time.Time) (*ring, error) {
	data, ok := named(stored, dataKeyset)
	if !ok {
		return nil, errNoKeyset
	}
	next := v.ring.Load()
	if next == nil || next.stored.Version != data.Version {
		m, err := v.masterOf(data)
		if err != nil {
			return nil, err
		}
		if next, err = newRing(data, m); err != nil {
			return nil, err
		}
	} else {
		same := *next
		same.stored = data
		next = &same
	}
	v.ring.Store(next)
	v.validated.Store(&at)
	v.looked = at
	return next, nil
}

// swap replaces the stored data keyset; handle nil keeps the keys. It reports false if another process changed it meanwhile.
func (v *Vault) swap(ctx context.Context, was *ring, now StoredKeyset, handle *keyset.Handle) (bool, error) {
	now.UpdatedAt = v.opts.Now()
	if handle != nil {
		m, err := v.masterOf(was.stored)
		if err != nil {
			return false, err
		}
		now.Version++
		if now, err = now.seal(m, handle); err != nil {
			return false, err
		}
	}
	swapped := false
	err := v.opts.Store.Write(ctx, func(ctx context.Context) error {
		var err error
		swapped, err = v.opts.Store.SwapKeyset(ctx, was.stored, now)
		if err != nil || !swapped || handle == nil {
			return err
		}
		return v.opts.Store.Notify(ctx, topic, "")
	})
	if err != nil {
		return false, fmt.Errorf("store the keyset: %w", err)
	}
	_, err = v.look(ctx)
	return swapped, err
}

// maintainEvery is how often a started vault looks for a rotation to finish.
const maintainEvery = time.Minute

// Stop implements lifecycle.Service. A stopped vault still seals and opens.
func (v *Vault) Stop(ctx context.Context) error {
	v.stopListening()
	return v.Loop.Stop(ctx)
}

func (v *Vault) run(ctx context.Context) error {
	refresh := time.NewTicker(v.opts.Lease / 3)
	defer refresh.Stop()
	maintain := time.NewTicker(maintainEvery)
	defer maintain.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-v.nudge:
			_, err = v.look(ctx)
		case <-refresh.C:
			_, err = v.look(ctx)
		case <-maintain.C:
			err = v.Maintain(ctx)
		}
		if err != nil {
			return err
		}
	}
}
