//go:build race

package runner_test

// slow is how many times longer the engine takes in a test binary with the race detector.
const slow = 40
