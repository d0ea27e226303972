// Package logstore keeps operations and their messages (package oplog) and searches them: on SQLite in one file per UTC day, on
// PostgreSQL in one partition per UTC day of the same database.
//
// An operation is a mutable row with the columns that filters use. Its messages are appended in chunks, each a compressed
// JSON array with one entry in a text index; searching eight times fewer and eight times larger documents than messages is
// what keeps writing cheap. The day is that of the operation's start, which its id tells, so an operation and its messages are
// found without looking elsewhere and a day is dropped whole: its disk space comes back.
//
// Writing is asynchronous. [Store.Save] and [Store.Append] put what they get into a queue that is written after 200 ms or 256
// operations, so that the begin, the messages and the end of a short operation become one insert. Reading first writes what is
// queued. What a process had queued is lost when it is killed; [Store.Close] writes it. When more comes in than the disk
// takes, messages are dropped before rows, callers wait 50 ms at most, and what was dropped is counted and reported.
package logstore
