// Package sandbox is Acme CRM, a fake third party that ships inside the binary for demos, tests and local development:
// an OAuth 2 server, a paged contacts API, endpoints that show what a proxy did to a request, webhooks, and faults on
// demand. docs/sandbox.md is the reference of its HTTP surface.
//
// It promises to be deterministic: with the same Seed the contacts, deals, bytes and even the tokens are the same in every
// run, and nothing depends on the real clock when Now is given. With a SnapshotPath every change that was answered
// with success (a contact, an issued or rotated token, a webhook) is on disk before the answer and survives kill -9;
// requests seen, faults, settings and webhook deliveries under way are not kept.
//
// It is no security boundary. Its tokens follow from the seed and its default credentials are public, so nothing real may be
// stored in it. Two processes must not share one snapshot file: the last writer wins.
//
// State (contacts, grants, webhooks) is guarded by Server.mu and changed only inside Server.update, which saves it.
// Every limit that keeps a long run from filling the memory is a constant beside what it limits.
package sandbox
