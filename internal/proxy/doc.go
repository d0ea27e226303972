// Package proxy sends a caller's request to a third-party API with the credentials of a connection.
//
// One [Service] serves the HTTP API and the functions: it finds the integration and the connection, has the credentials made
// fresh, builds the request (package provider/proxyrequest), sends it through the one door out (package egress), tries again
// when that was asked for, and hands the answer over as a stream. docs/proxy.md is the contract, docs/egress.md the policy.
//
// What it promises:
//
//   - Bodies pass byte for byte and without being held, both ways. The exceptions are few and named in [Call.ContentType].
//   - The answer is the third party's: its status, its headers but those of the connection and of CORS, its body. No answer is a
//     *[NetworkError]; a refusal of ours is an *errs.Error.
//   - A request is repeated only when the caller asked for retries, but for one repetition after a 401 with credentials that
//     were refreshed because of it. A body that can't be repeated is never sent twice.
//   - Nothing waits for ever: each wait is bounded, and a call that moves no byte for Options.Idle is ended.
//   - No credential is logged: the operation is told all secrets of the connection and of the integration first.
//
// What breaks it: a Response whose body is not closed holds a connection, and its operation never ends.
package proxy
