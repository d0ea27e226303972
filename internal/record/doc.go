// Package record is the records cache: what syncs brought home, kept per stream and read by the app with cursors.
//
// # What it is
//
// A [Stream] is all records of one model of a connection. A record is a JSON object with an id, the external id, which is
// unique in its stream. Functions write batches of up to [MaxBatch] with [Service.Save], [Service.Update] and
// [Service.Delete]; each batch is one transaction. What a batch does to a record depends on what is stored:
//
//	stored         Save                             Delete
//	none           added                            stored as deleted, not counted
//	live, other    updated                          deleted
//	live, same     unchanged                        deleted
//	pruned, same   its payload is back, unchanged   deleted
//	was deleted    added, as if it were new         again, now: it moves in the stream, not counted
//
// Update lays partial records over live ones and ignores all others. Of two records with one id in a batch the first counts.
//
// "Same" is decided by a hash over the record's JSON text as it came, so the order of members and white space matter: for
// what JSON.stringify wrote that is a change of order in the source. After an Update the hash is that of the partial record:
// the same partial again changes nothing, and the next Save counts as a change.
//
// # What it promises
//
// Order: every change of a record gets a time of its own, later than all others of its stream, under the lock of the stream.
// Who follows the cursors of [Service.Page] therefore sees the last state of each record at least once, whatever is written
// meanwhile and by whichever node. Unchanged records do not move.
//
// A full refresh never empties a stream half-way: [Service.TrackDeletesEnd] deletes only what no run has had since the window
// was opened. Deleted records stay in the stream, with their last payload, until somebody prunes or empties it.
//
// Payloads are compressed and sealed by the vault, bound to their stream and external id. The stored hash is keyed, so it
// does not give the payload away either. External ids, sizes and times are in clear.
//
// # What breaks it
//
// Writing to the tables without the lock of the stream. Emptying a stream makes cursors into it useless: they still decode,
// and what is saved later comes after them, but a client does not hear of what was removed.
package record
