// Package tenant knows who calls and what they set: accounts, environments, API keys and the settings of an environment.
//
// An account owns environments (dev and prod exist from the first start), an environment owns everything else: its API keys,
// its settings, and by its id every row of the other domains. A key is a random UUID (version 4) that names one environment,
// or the account itself, and carries scopes.
//
// # What it promises
//
//   - A key is stored as a keyed digest, by which it is found, and sealed, so that it can be shown again. Neither can be turned
//     into the key without the master key.
//   - A revoked key is refused by every process as soon as the notification reaches it, and at the latest after [cacheFor].
//     A new key works at once: that a key is unknown is never cached.
//   - A changed setting applies to the next event in the process that changed it, and in the others as a revoked key does.
//   - Every method that changes or shows something checks that it belongs to the account it is asked for; what belongs to
//     another account is not found.
//
// # What breaks it
//
// Rows written by SQL: nobody is notified, so they are seen after cacheFor. An operator's key (see [Options].Variables) has no row;
// it works as long as its variable is set.
package tenant
