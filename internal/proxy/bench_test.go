package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProxy2KB compares a proxied call of 2 KB, from the port to the database and the log, with a bare reverse proxy that
// does nothing but pass it on. Client and third party run in this process too, in both cases. The two take turns in blocks, so
// that a busy machine slows both; what is reported is processor time.
func BenchmarkProxy2KB(b *testing.B) {
	answer := strings.Repeat("0123456789abcdef", 128)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	b.Cleanup(upstream.Close)
	s := newStack(b, upstream)
	target, err := url.Parse(upstream.URL)
	if err != nil {
		b.Fatal(err)
	}
	bare := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true},
	})
	b.Cleanup(bare.Close)

	ours := s.request(b, "GET", "/proxy/v1/contacts?limit=10", nil)
	theirs := ours.Clone(b.Context())
	theirs.URL, theirs.Host = mustParse(b, bare.URL+"/v1/contacts?limit=10"), ""
	run := func(client *http.Client, r *http.Request, n int) time.Duration {
		before := cpu()
		for range n {
			res, err := client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || len(body) != len(answer) || res.StatusCode != http.StatusOK {
				b.Fatal(res.StatusCode, len(body), err)
			}
			res.Body.Close()
		}
		return cpu() - before
	}
	const block = 200
	run(s.server.Client(), ours, block)
	run(bare.Client(), theirs, block)
	var product, reference time.Duration
	blocks := 0
	b.ReportAllocs()
	for b.Loop() {
		product += run(s.server.Client(), ours, block)
		reference += run(bare.Client(), theirs, block)
		blocks++
	}
	calls := float64(blocks * block)
	b.ReportMetric(float64(product.Microseconds())/calls, "µs-cpu/call")
	b.ReportMetric(float64(reference.Microseconds())/calls, "µs-cpu/bare")
	b.ReportMetric(float64(product)/float64(reference), "x-bare")
}

func mustParse(b *testing.B, text string) *url.URL {
	b.Helper()
	u, err := url.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	return u
}
