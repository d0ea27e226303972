//go:build race

package jail_test

// overhead is private memory that the race detector itself needs.
const overhead = 4 << 30
