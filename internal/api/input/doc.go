// Package input reads and checks what a client sent: JSON bodies, query strings and headers.
//
// A Reader hands out typed values by name and collects everything that is wrong with them as [errs.Issue], in the vocabulary
// of the wire contract (invalid_type, unrecognized_keys, too_small, …), so that one answer names every field at fault.
// Reading never fails half-way: a value that does not pass is the zero value, and Err tells at the end.
package input
