// Package egress is the only door out of the process: every outbound connection (proxied requests, token endpoints,
// webhook deliveries, calls made by functions) is opened by a Door.
//
// # What it promises
//
//   - The decision is made inside the dialer, after DNS: a name is resolved once, every address of the answer must pass the
//     policy, and only one of the addresses that were checked is dialled. Name servers that change their answer, redirects,
//     odd spellings of an address and pooled connections therefore can not lead past it. The socket address itself is
//     checked a second time before connect(2).
//   - It fails closed: what can not be parsed, classified or resolved is not dialled; an allowlist without entries allows
//     nothing; an unknown mode is treated as an allowlist.
//   - Loopback, unspecified and cloud metadata addresses are opened by one thing only: an allow entry that names one host
//     and one port. Private and link-local ranges are opened by a named entry, or by a switch that is off by default.
//   - Bodies pass untouched (no transparent decompression), proxy environment variables are ignored, and no header that
//     may carry a credential follows a redirect to another party.
//   - Each request and each redirect hop is one Decision, reported to Options.OnDecision.
//
// # What the policy says
//
// The checks run in this order: URL syntax, scheme (http, https), allowlist, deny entries, built-in host names, address
// literals, DNS answers. Deny entries win over allow entries. An allow entry (see Entry) means:
//
//	entry                 opens                                            admits in allowlist mode
//	corp.example          private, link-local and reserved addresses of    the name and its sub-domains, any port
//	                      the name and its sub-domains
//	git.corp.example:8443 the same and loopback, for this name and port    this name and port
//	10.1.0.0/16           these addresses under any name and port          what resolves to these addresses only
//	127.0.0.1:3999        exactly this address and port                    exactly this address and port
//
// In allowlist mode names admit and addresses open: a name entry there says nothing about the addresses behind the name,
// so a third party in the list can not point its DNS into the private network. localhost:port is the exception, it can
// only mean loopback.
//
// # What breaks it
//
// A connection that is opened by anything else than a Door; a NAT or a forward proxy on the way that sends a public
// address to a private one; an allow entry that is wider than its author thought.
package egress
