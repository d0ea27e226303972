// Package vault seals the secrets that Patchbay stores and opens them again.
//
// # What it is
//
// Envelope encryption. A master key, which the operator holds, seals two keysets that live in the database; the keysets do
// the work. The data keyset (AES-256-GCM, one primary key and any number of older ones) seals values. The lookup keyset
// (HMAC-SHA256) makes the digests by which API keys and tokens are found; see [Vault.Hash].
//
// A sealed value is what Tink writes: 0x01, the key id in 4 bytes (big endian), a random 12-byte nonce, the ciphertext, a
// 16-byte tag; 33 bytes more than the plaintext. The row it belongs to is its associated data (see [Context]), so a value
// that was copied into another row or column does not open.
//
// # What it promises
//
//   - A wrong master key is refused at start, before anything is read or written with it.
//   - Nothing is sealed that could not be re-sealed later: Seal refuses a column that no [Sealed] was registered for.
//   - A rotation is online. The new key is published first and used for sealing only after every process had the time to
//     learn it; a value under a key this process has not seen makes it look once more. Readers never fail meanwhile.
//   - A rotation can be killed anywhere. [Vault.Rotate] and [Vault.Rewrap] continue what they find.
//   - An old key is removed only after it was found unused twice, [Options].RetireAfter apart: longer than any process may
//     hold a ciphertext or a keyset of before. A row that does not open keeps its key alive.
//
// A process may seal with a keyset for [Options].Lease after it last compared it with the database; then Seal looks again by
// itself. That bound, not the notification between nodes, is what makes the removal of a key safe.
//
// # What breaks it
//
// Losing the master key: nothing can be opened again, by design. Copying a sealed value by SQL from one row to another.
// A column that is sealed with a Context other than the one its Sealed reports: its rows count as unreadable and keep the
// old key from being removed. Clocks of nodes that differ by more than RetireAfter.
package vault
