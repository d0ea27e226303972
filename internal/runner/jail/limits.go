package jail

// Limits are the resource limits of a runner process.
type Limits struct {
	// Data bounds private memory in bytes (RLIMIT_DATA); 0: unlimited. What is refused inside the engine is an out-of-memory
	// error there; refused to Go's own heap it ends the process.
	Data int64
	// Files bounds open descriptors; 0: 64.
	Files int
}
