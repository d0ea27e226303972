package blackbox

import (
	"net"
	"strconv"
	"testing"
)

// FreePorts gives ports of 127.0.0.1 that nobody listens on. The outbound policy opens this machine by the port only, so a test
// has to know its ports before it starts the server.
func FreePorts(t testing.TB, n int) []string {
	t.Helper()
	ports := make([]string, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }() // at the end, so that all are different
		ports[i] = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
