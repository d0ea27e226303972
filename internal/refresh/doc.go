// Package refresh keeps credentials fresh: one renewal per expiry, however many callers and nodes ask.
//
// A connection is in one of three states, which lie in its row:
//
//	healthy     no failure is known. Credentials that are about to expire are renewed by whoever asks first
//	failing     the last renewal failed for now (outage, rate limit, a client the provider refuses). The next is made after a
//	            pause that doubles from 30 s to 1 h; until then the old credentials are handed out while they last, and after
//	            that the answer is connection_refresh_backoff
//	dead        the provider refused the grant for good. Nothing is tried by itself any more; the answer is
//	            connection_refresh_exhausted until somebody reconnects
//
// A success makes a connection healthy, and so does a reconnect or an import. A forced refresh is tried in every state.
//
// # How one renewal is made
//
// Callers of one process share a flight, which goes on when they give up. A flight leases the row from the database, reads it
// again, and returns what it finds if somebody else has renewed, failed or reconnected since its caller looked: after waiting
// it checks, it never just refreshes. Only the holder of the lease calls the provider. It writes under the condition that row
// still has the version it read and the lease is still its own; a refusal is recorded under the same condition, so the
// invalid_grant of a loser kills nothing.
//
// The lease lasts longer than the call may. If a node dies between the provider's answer and the write, the next holder
// presents the old refresh token again; there is nothing else it could do. Clocks of nodes may differ by Lease minus the time
// limit of the call before two nodes may call at a time, and even then the version keeps one from overwriting the other.
//
// Transitions between the states, not attempts, are told to the [Observer] in the transaction that records them.
package refresh
