// Package api is the public HTTP surface: routing, authentication, decoding, validation and the two error envelopes.
//
// It speaks the wire contract of the client SDKs. Handlers read their input with package input, call one domain, and return
// an error or write an answer; what an error looks like to the client is decided here only (respond.go). The order of checks
// is CORS, content type (415), authentication (401), scope (403), validation (400), the domain's own answer.
package api
