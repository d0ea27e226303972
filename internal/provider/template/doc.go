// Package template is the placeholder language of the provider catalog: "https://${connectionConfig.shop}.example.com",
// "Basic ${base64(${username}:${password})}", "${connectionConfig.region} || eu".
//
//	template    = 1*( literal / placeholder )
//	alternative = template "||" template            ; only the first two parts count
//	placeholder = "${" ( path / now / "random" / "endpoint" / call ) "}"
//	path        = name *( "." name )                ; dots walk maps and lists; a flat key that holds dots matches too
//	now         = "now" [ ( "+" / "-" ) digits ":" unit ] [ ":" format ]   ; an offset needs a format
//	call        = name "(" arguments ")"            ; arguments are templates themselves
//
// Calls are base64, sha256Hex, sha256Base64 (one argument); hmacSha1Hex(message, key) and ed25519Sign(message, pem), which
// split at the last comma; fingerprint(pem), in the Flat dialect only; and awsSigV4(accessKey, secret, region, service
// [, host]). A call ends at the first ")}", so a nested call is closed by the same ")}" as the outer one: nest
// placeholders, not calls.
//
// Three dialects exist because three places of the wire contract read the same text differently:
//
//   - Object: OAuth URLs and parameters. "||" is split after the calls, the left side wins if a placeholder in it changed
//     it and it is not empty; a literal left side never wins.
//   - Wrapper: everything of the proxy. "||" is split first, even inside a call; a text without "${" is a literal.
//   - Flat: JWT, assertions, two-step. No "||"; a flat key wins over a path; true, lists and maps are inserted as text.
//
// Promises. Parse never fails and Eval never panics, whatever the text and the values. Parsing happens once; Eval only
// walks the parsed form and may be called from many goroutines. Evaluation is one pass: an inserted value is never read
// again, so a password that holds "${x}" or "||" arrives as it is. A placeholder without a value stays in the text as it
// was written and is named in Result.Missing, also when it sits inside a call; whether that is an error, a dropped
// header or a literal is the caller's decision. URL makes it an UnresolvedError.
//
// What breaks it: giving credentials to a Scope whose template text came from a caller. Use a Scope without them.
package template
