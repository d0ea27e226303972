package refresh

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

const (
	// Pauses between looks at a row that another node has leased.
	firstLook, lastLook = 50 * time.Millisecond, 500 * time.Millisecond
	// maxLeases is how often one flight leases: again only when it was too slow and lost the lease to another node.
	maxLeases = 4
	// writeTries, with pauses that double up to lastRewrite, cover half a minute: the fail-over of a database. The provider
	// has already taken the old refresh token back, so this write must not be given up early.
	writeTries                = 32
	firstRewrite, lastRewrite = 100 * time.Millisecond, time.Second
)

// errorSource tells marks of failed renewals from other auth errors.
const errorSource = "refresh"

// errBusy ends a flight that lost its lease again and again.
var errBusy = errors.New("other nodes keep taking the lease")

// attempt is what one caller wants.
type attempt struct {
	*Coordinator

	integration *integration.Integration
	provider    *provider.Provider
	renewer     Renewer
	// seen is the connection as the caller knows it.
	seen  *connection.Connection
	force bool
	early time.Duration
}

// run renews, or finds that somebody else has. The error is a *RenewalError or an internal fault.
func (a attempt) run(ctx context.Context) (*connection.Connection, error) {
	owner := a.node + "-" + randomName()
	var got *Renewal
	for range maxLeases {
		c, held, err := a.lease(ctx, owner, got != nil)
		if err != nil || !held {
			return c, err
		}
		// A call has its own time, and after it nothing may get lost because time is up.
		lasting := context.WithoutCancel(ctx)
		if got == nil {
			renewal, failure := a.renew(lasting, c)
			if failure != nil {
				written, err := a.fail(lasting, c, failure, owner)
				if err != nil {
					return nil, err
				}
				if written {
					return nil, failure
				}
				continue
			}
			got = &renewal
		}
		next, saved, err := a.save(lasting, c, *got, owner)
		if err != nil || saved {
			return next, err
		}
		// Somebody reconnected or deleted the connection meanwhile: then the row tells. Or this node was so slow that another
		// one has the lease: then what was got is saved once the other is done, unless that one got something newer.
	}
	return nil, errBusy
}

// lease waits for the lease. It comes back without it when there is nothing left to do. With unsaved credentials in hand, that
// is only when there are newer ones.
func (a attempt) lease(ctx context.Context, owner string, unsaved bool) (c *connection.Connection, held bool, err error) {
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		now := a.opts.Now()
		held, err = a.opts.Store.Lease(ctx, a.seen.EnvironmentID, a.seen.ID, owner, now, now.Add(Lease))
		if err != nil {
			return nil, false, err
		}
		c, err = a.opts.Connections.GetByID(ctx, a.seen.EnvironmentID, a.seen.ID)
		done := err != nil
		if !done {
			done, err = a.overtaken(c, unsaved)
		}
		if !done && held {
			return c, true, nil
		}
		if done {
			if held {
				err = errors.Join(err, a.opts.Store.Release(ctx, a.seen.EnvironmentID, a.seen.ID, owner))
			}
			return c, false, err
		}
		if err := a.opts.Wait(ctx, pause); err != nil {
			return nil, false, err
		}
	}
}

// overtaken reports whether the row tells of something that happened since the caller looked: new credentials, or a failure,
// which is then everybody's.
func (a attempt) overtaken(c *connection.Connection, unsaved bool) (bool, error) {
	if c.Version > a.seen.Version {
		return true, nil
	}
	if unsaved {
		return false, nil
	}
	if c.Refresh.Failures > a.seen.Refresh.Failures {
		return true, &RenewalError{Code: c.Refresh.Code, Message: c.Refresh.Message, Dead: c.Refresh.NeedsReconnect}
	}
	// A refusal to try is worded by the caller, who sees the same row.
	done, _ := a.settled(c)
	return done, nil
}

func (a attempt) renew(ctx context.Context, c *connection.Connection) (Renewal, *RenewalError) {
	ctx, cancel := context.WithTimeout(ctx, oauth.Timeout)
	defer cancel()
	renewal, err := a.renewer.Renew(ctx, a.integration, a.provider, c)
	if err == nil {
		return renewal, nil
	}
	if failure, ok := errors.AsType[*RenewalError](err); ok {
		return Renewal{}, failure
	}
	a.opts.Logger.ErrorContext(ctx, "renew credentials", "connection", c.ID, "provider", c.Provider, "err", err)
	return Renewal{}, &RenewalError{Code: "refresh_token_external_error", Message: "The refresh broke down", cause: err}
}

// save writes new credentials.
func (a attempt) save(ctx context.Context, c *connection.Connection, r Renewal, owner string) (next *connection.Connection, saved bool, err error) {
	next = new(connection.Connection)
	*next = *c
	var changed bool
	if next.Config, changed, err = mergeConfig(c.Config, r.Config); err != nil {
		return nil, false, err
	}
	next.Credentials, next.Refresh = r.Credentials, connection.RefreshState{}
	next.Version, next.UpdatedAt = c.Version+1, a.opts.Now().UTC()
	stored, err := a.opts.Connections.Seal(*next)
	if err != nil {
		return nil, false, err
	}
	if !changed {
		stored.SealedConfig = nil
	}
	var op *oplog.Operation
	var effects func(ctx context.Context) error
	if failing(c.Refresh) {
		op = a.begin(ctx, c, r.Credentials)
		next.Errors = slices.DeleteFunc(slices.Clone(c.Errors), func(e connection.ActiveError) bool {
			return e.Type == connection.AuthError && e.Source == errorSource
		})
		effects = func(ctx context.Context) error {
			if _, err := a.opts.Connections.ClearError(ctx, c.EnvironmentID, c.ID, connection.AuthError, errorSource); err != nil {
				return err
			}
			return a.opts.Observer.Recovered(ctx, next)
		}
	}
	saved, err = a.write(ctx, func(ctx context.Context) (bool, error) { return a.opts.Store.Save(ctx, stored, owner) }, effects)
	if op != nil {
		if saved {
			op.Log(ctx, oplog.Info, "The credentials work again")
			op.Success(ctx)
		} else {
			op.Cancel(ctx)
		}
	}
	return next, saved, err
}

// fail records a failure.
func (a attempt) fail(ctx context.Context, c *connection.Connection, f *RenewalError, owner string) (bool, error) {
	failed := *c
	failed.Refresh = connection.RefreshState{
		Failures: c.Refresh.Failures + 1, LastFailure: a.opts.Now().UTC(), NeedsReconnect: f.Dead || c.Refresh.NeedsReconnect,
		Code: f.Code, Message: f.Message,
	}
	op := a.begin(ctx, c, c.Credentials)
	mark := connection.ActiveError{Type: connection.AuthError, LogID: op.ID(), Source: errorSource}
	first := !failing(c.Refresh) || f.Dead && !c.Refresh.NeedsReconnect
	written, err := a.write(ctx, func(ctx context.Context) (bool, error) { return a.opts.Store.Fail(ctx, failed, owner) },
		func(ctx context.Context) error {
			if _, err := a.opts.Connections.SetError(ctx, c.EnvironmentID, c.ID, mark); err != nil || !first {
				return err
			}
			return a.opts.Observer.Failed(ctx, &failed, f.Code, f.Message, f.Dead)
		})
	if !written {
		op.Log(ctx, oplog.Warn, "The attempt failed ("+f.Message+"), but the connection was changed meanwhile")
		op.Cancel(ctx)
		return false, err
	}
	failure := oplog.Failure{Name: f.Code, Message: f.Message}
	op.Append(ctx, oplog.Message{Level: oplog.Error, Text: f.Message, Context: "auth", Error: &failure})
	if f.Dead {
		op.Log(ctx, oplog.Error, "Nothing is tried any more until the connection is connected again")
	} else {
		op.Log(ctx, oplog.Info, "The next attempt is not before "+retryAt(failed.Refresh).Format(time.RFC3339))
	}
	op.Fail(ctx, failure)
	return true, nil
}

// write changes the row and, if that hit, has its effects, in one transaction, which is repeated while the database fails.
// The last try is made without the effects: credentials that are lost can't be had again.
func (a attempt) write(
	ctx context.Context, change func(ctx context.Context) (bool, error), effects func(ctx context.Context) error,
) (hit bool, err error) {
	for try, pause := 1, firstRewrite; ; try, pause = try+1, min(2*pause, lastRewrite) {
		err = a.opts.Tx.Write(ctx, func(ctx context.Context) error {
			var err error
			if hit, err = change(ctx); err != nil || !hit || effects == nil || try == writeTries {
				return err
			}
			return effects(ctx)
		})
		if err == nil {
			return hit, nil
		}
		a.opts.Logger.ErrorContext(ctx, "record a refresh", "connection", a.seen.ID, "try", try, "err", err)
		if try == writeTries {
			return false, err
		}
		if waited := a.opts.Wait(ctx, pause); waited != nil {
			return false, err
		}
	}
}

// begin starts the operation that tells users about an attempt.
func (a attempt) begin(ctx context.Context, c *connection.Connection, more connection.Credentials) *oplog.Operation {
	op := a.opts.Log.Begin(ctx, oplog.Record{
		Kind: oplog.RefreshToken, EnvironmentID: c.EnvironmentID, ProviderName: a.integration.Provider, IntegrationID: a.integration.ID,
		IntegrationName: a.integration.Key, ConnectionID: c.ID, ConnectionName: c.ConnectionID,
	})
	op.Hide(c.Credentials.Secrets()...)
	op.Hide(more.Secrets()...)
	op.Hide(a.integration.Secrets.ClientSecret)
	return op
}
