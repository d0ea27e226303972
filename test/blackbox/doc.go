// Package blackbox starts the built binary as a user does and gives tests what they need to talk to it.
//
// It drives bin/patchbay (or what PATCHBAY_BIN names) and nothing else of this repository: what a test sees is what a user sees.
// A server runs `patchbay dev --json` in a folder of its own, so tests run in parallel; it is killed when its test ends.
//
// A missing binary fails the test, and so does a missing PostgreSQL: nothing is skipped.
package blackbox
