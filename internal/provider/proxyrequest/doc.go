// Package proxyrequest builds the request that the proxy sends to a provider's API out of four things: the catalog entry, the
// connection, the caller's request, and one frozen moment. It does no I/O and keeps nothing.
//
// Who may read what. The catalog's own texts (base URL, headers, query, body, verification) see the connection's
// credentials. The caller's path and base-url-override see connectionConfig, metadata, tags and the three ids, but no
// credentials: a path like /a/${apiKey} is sent as it was written, so a caller can't copy a secret into a URL or to a host
// of its choice.
//
// What has no value. In a base URL it is a *template.UnresolvedError, because a request to a half-built host or path is of
// no use. A query parameter, a body field, and a header that mentions connectionConfig are left out. Another header is sent
// as written. What was left out or left unresolved is listed in Missing for the log; only names are listed, never values.
//
// What breaks it: results hold secrets in clear (that is their purpose), so they must not be logged. Injected names the
// headers and query parameters to take off when a redirect leaves the provider's host.
package proxyrequest
