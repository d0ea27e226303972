// Package oplog is the activity log that users see: operations (a sync ran, an action was called, a webhook was delivered) and,
// inside each, messages (an HTTP call, a line of the function's own, an error).
//
// It is not the process's own log, which is log/slog. An operation is one mutable row; its messages are appended in batches.
// Both live apart from the control plane, one file or partition per UTC day of the operation's start, so that retention is
// dropping a day. Writing never fails the work that is logged: what can't be written is reported to slog and counted.
//
// What passes through an [Operation] is redacted: known secrets in every encoding, authorization headers, cookies.
package oplog
