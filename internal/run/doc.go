// Package run executes functions: it decides when a sync runs, runs it and actions in the runner, answers what they ask the
// platform for, and makes the outcome true.
//
// # Sync instances
//
// A sync function has one instance (a [Sync]) per connection and variant, with a schedule of its own in package queue.
// [Instances] keeps them in step with connections and deployments, inside the transactions that change those.
//
// # A sync run
//
//	job claimed → run RUNNING → function executes → SUCCESS   last_sync_date is the start of the run, webhooks per model
//	                                              → STOPPED   error webhook; what was saved and the checkpoint stay
//
// The end of a run, its webhooks and the end of its job are one transaction, so each successful run is announced exactly once
// whatever is killed. A run that lost its process is STOPPED by the next claim of its job, which begins a new run that goes on
// from the checkpoint and takes over the counts, so that the webhook tells of everything since the first start. Two runs of one
// sync never overlap: the jobs of a schedule share a key.
//
// Pausing a sync and asking for a full run abort the run that is going on. An abort is no failure: it sends no webhook.
//
// # Actions
//
// A synchronous action runs at once, in the request that asked for it; it never touches the queue. An asynchronous one is a
// job whose result is kept for [ResultLife].
//
// # The host
//
// Each execution has a host that answers the operations of internal/runner/js/sdk/ops.md. What a function sends is checked as
// input from outside; everything it can reach is bound to the environment it was deployed in.
//
// # What breaks it
//
// A function that goes on for more than its limits is ended. The counts of one batch can be lost with the process: on SQLite
// records and runs lie in two files.
package run
