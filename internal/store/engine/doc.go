// Package engine runs Patchbay's SQL on either of its two engines and hides which one it is.
//
// SQLite (pure Go, WAL, synchronous=FULL) is the embedded default: one writer goroutine drains whatever writes are waiting into
// one transaction and one fsync (group commit), and a pool of read-only connections serves reads. PostgreSQL is the engine for
// several nodes. A statement is written once, in PostgreSQL's $N style, and registered as a [Query]; the few places where the
// engines differ are the macros of [SQL] or a pair of texts in [SQLPair].
//
// # Transactions
//
// [DB.Write] and [DB.Read] run a closure in a transaction that travels in the context they pass to it. Every method of DB
// called with that context joins the transaction; called with any other context it runs on its own. A nested Write joins the
// outer one. What Write returned nil for survives kill -9 and, on SQLite, power loss (as far as the disk tells the truth).
//
// A Write closure must be short, must not do I/O or wait for anything, and must use the inner context: on SQLite it occupies
// the only writer, and waiting in it for another Write never ends. On PostgreSQL it may run more than once (a deadlock or a
// serialization failure is retried), so it must not change anything outside the database except through [AfterCommit].
//
// Callers make ids and times in Go; times are int64 microseconds, see [Micros] and [Time].
package engine
