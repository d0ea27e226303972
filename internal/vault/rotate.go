package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// Sealed is a column that holds sealed values, so that a rotation finds them.
type Sealed interface {
	// Place gives the table and the column, as in the Context of its values.
	Place() (table, column string)
	// Batch gives up to limit sealed values of rows whose id is greater than after, in the order of ids; first "".
	Batch(ctx context.Context, after string, limit int) ([]SealedRow, error)
	// Replace stores sealed in the row if the row still holds row.Sealed, and reports whether it did.
	Replace(ctx context.Context, row SealedRow, sealed []byte) (bool, error)
}

// SealedRow is one sealed value and its place.
type SealedRow struct {
	Context Context
	Sealed  []byte
}

const (
	// rewrapBatch rows are replaced in one transaction: some milliseconds of the only writer on SQLite.
	rewrapBatch = 100
	// rewrapPasses bounds how often one Rewrap goes over everything while others keep writing under the old key.
	rewrapPasses = 5
	// swapTries bounds how often a change of the keyset is tried again because another process changed it.
	swapTries = 10
	// maxUnreadable is how many unreadable rows a report names.
	maxUnreadable = 20
)

var errBusy = errors.New("other processes keep changing the keyset")

// Rotate makes a new key and starts to seal with it: it publishes the key, waits one lease, so that every process that seals
// has learned it, and promotes it. It finishes a rotation that was interrupted instead of starting another. The old key
// still opens what it sealed; see Rewrap. It returns the id of the new primary key.
func (v *Vault) Rotate(ctx context.Context) (uint32, error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	staged, err := v.stage(ctx)
	if err != nil {
		return 0, fmt.Errorf("rotate: publish a new key: %w", err)
	}
	if err := v.promote(ctx, staged); err != nil {
		return 0, fmt.Errorf("rotate: promote key %d: %w", staged, err)
	}
	return staged, nil
}

// stage publishes a new key, unless one already is.
func (v *Vault) stage(ctx context.Context) (uint32, error) {
	for range swapTries {
		r, err := v.look(ctx)
		if err != nil {
			return 0, err
		}
		if r.stored.StagedKeyID != 0 {
			return r.stored.StagedKeyID, nil
		}
		manager := keyset.NewManagerFromHandle(r.handle)
		id, err := manager.Add(aead.AES256GCMKeyTemplate())
		if err != nil {
			return 0, err
		}
		next := r.stored
		next.StagedKeyID, next.StagedAt = id, v.opts.Now()
		if swapped, err := v.swapManaged(ctx, r, next, manager); err != nil || swapped {
			return id, err
		}
	}
	return 0, errBusy
}

// promote seals with the staged key from now on, once it was published for a lease.
func (v *Vault) promote(ctx context.Context, staged uint32) error {
	for range swapTries {
		r, err := v.look(ctx)
		if err != nil {
			return err
		}
		if r.stored.StagedKeyID != staged {
			if r.has(staged) {
				return nil // another process did it
			}
			return errBusy
		}
		// At most one lease, whatever the clock of the node that published it says.
		if left := min(r.stored.StagedAt.Add(v.opts.Lease).Sub(v.opts.Now()), v.opts.Lease); left > 0 {
			if err := v.opts.Wait(ctx, left); err != nil {
				return err
			}
			continue
		}
		manager := keyset.NewManagerFromHandle(r.handle)
		if err := manager.SetPrimary(staged); err != nil {
			return err
		}
		next := r.stored
		next.StagedKeyID, next.StagedAt, next.CleanSince = 0, time.Time{}, time.Time{}
		if swapped, err := v.swapManaged(ctx, r, next, manager); err != nil || swapped {
			return err
		}
	}
	return errBusy
}

func (v *Vault) swapManaged(ctx context.Context, r *ring, next StoredKeyset, manager *keyset.Manager) (bool, error) {
	handle, err := manager.Handle()
	if err != nil {
		return false, err
	}
	return v.swap(ctx, r, next, handle)
}

// Progress is how far a Rewrap is.
type Progress struct {
	Pass   int    // from 1
	Column string // table.column
	// Scanned and Resealed count the rows of this Rewrap so far.
	Scanned, Resealed int
}

// Report is what a Rewrap did.
type Report struct {
	Scanned, Resealed int
	// Unreadable names the first rows under an old key that do not open. They keep that key alive.
	Unreadable      []Context
	UnreadableCount int
	// Retired are the ids of the keys that were removed.
	Retired []uint32
	// RetireAt is when keys that are no longer used may be removed, by a Rewrap or Maintain after that time; zero if there
	// are none, or they are still used.
	RetireAt time.Time
}

// Rewrap seals every value under an old key again with the primary one, in small batches, while everything goes on. It can be
// stopped or killed anywhere and called again: what is done is skipped. When it finds the old keys unused, now and at a Rewrap
// RetireAfter earlier, it removes them. progress may be nil; it is called after each batch.
func (v *Vault) Rewrap(ctx context.Context, progress func(Progress)) (Report, error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	report, err := v.rewrap(ctx, progress)
	if err != nil {
		return report, fmt.Errorf("rewrap: %w", err)
	}
	return report, nil
}

func (v *Vault) rewrap(ctx context.Context, progress func(Progress)) (Report, error) {
	var report Report
	for n := 1; n <= rewrapPasses; n++ {
		r, err := v.look(ctx)
		if err != nil {
			return report, err
		}
		if len(r.old) == 0 {
			return report, nil
		}
		p := pass{vault: v, number: n, primary: r.primary, report: &report, progress: progress}
		if err := p.run(ctx); err != nil {
			return report, err
		}
		switch {
		case p.moved:
		case p.found == 0 && !p.kept:
			return report, v.retire(ctx, r, &report)
		default:
			if err := v.markUsed(ctx, r); err != nil {
				return report, err
			}
			if p.found == 0 {
				return report, nil // only what can't be read is left, and another pass won't read it either
			}
		}
	}
	return report, nil
}

// markUsed forgets that the old keys were once found unused.
func (v *Vault) markUsed(ctx context.Context, r *ring) error {
	if r.stored.CleanSince.IsZero() {
		return nil
	}
	next := r.stored
	next.CleanSince = time.Time{}
	_, err := v.swap(ctx, r, next, nil)
	return err
}

// retire removes the old keys of r, which a whole pass has just found unused, if they were so RetireAfter ago.
func (v *Vault) retire(ctx context.Context, r *ring, report *Report) error {
	next := r.stored
	if next.CleanSince.IsZero() {
		next.CleanSince = v.opts.Now()
		if swapped, err := v.swap(ctx, r, next, nil); err != nil || !swapped {
			return err
		}
		r = v.ring.Load()
		next = r.stored
	}
	if at := next.CleanSince.Add(v.opts.RetireAfter); v.opts.RetireAfter > 0 && v.opts.Now().Before(at) {
		report.RetireAt = at
		return nil
	}
	manager := keyset.NewManagerFromHandle(r.handle)
	for _, id := range r.old {
		if err := manager.Delete(id); err != nil {
			return err
		}
	}
	next.CleanSince = time.Time{}
	swapped, err := v.swapManaged(ctx, r, next, manager)
	if swapped {
		report.Retired = slices.Clone(r.old)
	}
	return err
}

// pass is one walk over all sealed values.
type pass struct {
	vault    *Vault
	number   int
	primary  uint32
	report   *Report
	progress func(Progress)

	found int  // values under an old key that open
	kept  bool // a value that does not open keeps an old key alive
	moved bool // another key became primary during the pass
}

func (p *pass) run(ctx context.Context) error {
	p.report.Unreadable, p.report.UnreadableCount = nil, 0
	for _, column := range p.vault.opts.Sealed {
		table, name := column.Place()
		after := ""
		for {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			rows, err := column.Batch(ctx, after, rewrapBatch)
			if err != nil {
				return fmt.Errorf("read %s.%s: %w", table, name, err)
			}
			if len(rows) == 0 {
				break
			}
			if err := p.batch(ctx, column, rows); err != nil {
				return fmt.Errorf("%s.%s: %w", table, name, err)
			}
			if p.progress != nil {
				p.progress(Progress{p.number, table + "." + name, p.report.Scanned, p.report.Resealed})
			}
			after = rows[len(rows)-1].Context.ID
		}
	}
	return nil
}

type replacement struct {
	row    SealedRow
	sealed []byte
}

func (p *pass) batch(ctx context.Context, column Sealed, rows []SealedRow) error {
	var replace []replacement
	for _, row := range rows {
		sealed, err := p.reseal(row)
		if err != nil {
			return err
		}
		if sealed != nil {
			replace = append(replace, replacement{row, sealed})
		}
	}
	p.report.Scanned += len(rows)
	if len(replace) == 0 {
		return nil
	}
	done := 0
	err := p.vault.opts.Store.Write(ctx, func(ctx context.Context) error {
		done = 0 // the closure may run more than once
		for _, r := range replace {
			replaced, err := column.Replace(ctx, r.row, r.sealed)
			if err != nil {
				return err
			}
			if replaced { // else somebody wrote the row meanwhile; the next pass looks at it again
				done++
			}
		}
		return nil
	})
	p.report.Resealed += done
	return err
}

// reseal gives the value of row under the primary key, or nil if there is nothing to do.
func (p *pass) reseal(row SealedRow) ([]byte, error) {
	r := p.vault.ring.Load()
	if r.primary != p.primary {
		p.moved = true // what was skipped so far is old now
	}
	id, ok := KeyID(row.Sealed)
	if ok && id == r.primary {
		return nil, nil
	}
	plaintext, err := p.vault.Open(row.Sealed, row.Context)
	if errors.Is(err, ErrUnreadable) {
		p.unreadable(row.Context)
		p.kept = p.kept || ok && p.vault.ring.Load().has(id) // a key that is gone can't be kept
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.found++
	return p.vault.Seal(plaintext, row.Context)
}

func (p *pass) unreadable(c Context) {
	p.report.UnreadableCount++
	if len(p.report.Unreadable) < maxUnreadable {
		p.report.Unreadable = append(p.report.Unreadable, c)
	}
}

// Maintain finishes what an interrupted Rotate or Rewrap left and removes old keys when their time has come. It is cheap when
// there is nothing to do. Any number of nodes may do so at once.
func (v *Vault) Maintain(ctx context.Context) error {
	r, err := v.look(ctx)
	if err != nil {
		return err
	}
	if r.stored.StagedKeyID != 0 {
		if _, err := v.Rotate(ctx); err != nil {
			return err
		}
		r = v.ring.Load()
	}
	clean := r.stored.CleanSince
	if len(r.old) == 0 || !clean.IsZero() && v.opts.Now().Before(clean.Add(v.opts.RetireAfter)) {
		return nil
	}
	report, err := v.Rewrap(ctx, nil)
	if report.UnreadableCount > 0 {
		v.opts.Logger.ErrorContext(ctx, "sealed values that do not open keep an old key alive",
			"count", report.UnreadableCount, "first", report.Unreadable[0])
	}
	return err
}
