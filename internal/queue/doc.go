// Package queue runs durable jobs and schedules that live in tables of the control plane's database.
//
// A job is a kind and its arguments. [Client.Insert] joins the transaction of its context, so a job exists exactly when what it
// is about exists. A [Worker] registered for the kind runs it, at least once: a job is forgotten only when its end was recorded.
//
// # States
//
//	waiting: its time has not come (RunAt in the future, or a retry). Then ready.
//	ready:   a free worker of its queue may take it. Then running or held.
//	held:    its Key or Group is full. Ready again when another job of that name stops running.
//	running: one process holds its lease. Then gone, waiting for a retry, or ready again because the lease ran out.
//
// A job that succeeded or was cancelled is deleted; what it did belongs in its domain's own tables. A job that failed for good
// moves to the dead jobs and stays there for a while (Config.DeadFor) to be looked at or revived.
//
// # Leases and fencing
//
// A running job is leased to one process, which renews all its leases every Config.Beat. When a lease runs out the job becomes
// ready again and Lost counts up; a job that lost its process [MaxLost] times fails instead of taking down one process after the
// other. Each claim has a new lease token, and every end of a job names it: a worker that was thought dead can not end a job that
// somebody else runs by now. [Job.Guard] brings the same check into a worker's own transactions, [Job.CompleteTx] ends the job
// in one. The clocks of all nodes must agree within a few seconds, well below Config.Lease.
//
// # Order
//
// Within a queue the lower Priority goes first; within a priority the tenants take turns, whatever their backlogs; within a
// tenant the older job goes first. Each job gets its turn number when it becomes ready: one more than its tenant's last ready
// job, or the number at the head of the queue. So a claim reads the head of one index.
//
// # Keys and groups
//
// At most KeyLimit jobs of a Key and GroupLimit jobs of a Group run at once, over all nodes. Both are names for the whole
// database: put the environment's id in. A claim that meets a job whose name is full sets it aside as held, so that a long line
// behind one name costs nobody else anything; every job that stops running lets one held job of its names go. Use a name within
// one queue only: a job let go in a queue that nobody works on keeps its place.
//
// # Schedules
//
// A schedule inserts its job when it is started, due, and has no unfinished job. It stays on the grid anchor + n × period: when
// its job ends, the next run is the first point of the grid that is not past and has not been run, so a slow job skips ticks and
// never piles up. The tick inserts the job in the transaction that marks the schedule, and every node ticks; there is no leader.
//
// # What breaks it
//
// A worker that ignores its context holds its slot and its lease for as long as it likes. A transaction closure that waits for
// something else than the database blocks every writer on SQLite. Arguments are stored as plain JSON: never put a secret in.
package queue
