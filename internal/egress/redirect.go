package egress

import (
	"net/http"
	"net/url"
	"strings"
)

// crossParty are the headers that follow a redirect to another party when the caller named no sensitive ones: what
// describes the exchange and can not identify the caller. Content-Encoding belongs to a body that 307 and 308 repeat.
var crossParty = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Content-Type": true, "Content-Encoding": true, "User-Agent": true,
}

// alwaysSensitive are removed on a redirect to another party whatever the caller marked.
var alwaysSensitive = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// redirectPolicy makes the CheckRedirect of a client. Whether the hop may be dialled is judged by guard.RoundTrip; this
// one counts hops and decides which headers go along.
func (d *Door) redirectPolicy(o ClientOptions) func(*http.Request, []*http.Request) error {
	if !o.FollowRedirects {
		return func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return func(req *http.Request, via []*http.Request) error {
		first := via[0]
		if len(via) > d.maxRedirects {
			err := &DeniedError{Reason: TooManyRedirects, Host: req.URL.Hostname()}
			d.report("", err)
			return err
		}
		if _, own := first.Header["Referer"]; !own {
			req.Header.Del("Referer") // net/http adds it, and query strings carry API keys
		}
		switch {
		case o.ForwardHeaders:
			restoreHeaders(req.Header, first.Header)
		case leftParty(req, via):
			stripHeaders(req.Header, o.SensitiveHeaders)
		}
		return nil
	}
}

// restoreHeaders puts back what net/http removed. Content-* stay away: they are missing when the body is.
func restoreHeaders(to, from http.Header) {
	for name, values := range from {
		if _, there := to[name]; !there && !strings.HasPrefix(name, "Content-") {
			to[name] = values
		}
	}
}

func stripHeaders(h http.Header, sensitive []string) {
	if sensitive == nil {
		for name := range h {
			if !crossParty[http.CanonicalHeaderKey(name)] {
				delete(h, name)
			}
		}
		return
	}
	for name := range h {
		canonical := http.CanonicalHeaderKey(name) // keys set without Header.Set may have any case
		for _, list := range [][]string{alwaysSensitive, sensitive} {
			for _, s := range list {
				if http.CanonicalHeaderKey(s) == canonical {
					delete(h, name)
				}
			}
		}
	}
}

// leftParty tells whether any hop so far went to another party than the first request. Once it has, coming back does not
// help: net/http copies headers from the first request each time, and the chain is in foreign hands.
func leftParty(req *http.Request, via []*http.Request) bool {
	origin := via[0].URL
	for _, hop := range via[1:] {
		if !sameParty(origin, hop.URL) {
			return true
		}
	}
	return !sameParty(origin, req.URL)
}

// sameParty tells whether what was meant for origin may go to next: the same host or a sub-domain of it, the same port
// (the step from http to https on their usual ports counts as the same), and never from https to http.
func sameParty(origin, next *url.URL) bool {
	from, err := targetOf(origin)
	if err != nil {
		return false
	}
	to, err := targetOf(next)
	if err != nil {
		return false
	}
	if origin.Scheme == "https" && next.Scheme != "https" {
		return false
	}
	upgrade := origin.Scheme == "http" && next.Scheme == "https" && from.port == 80 && to.port == 443
	if from.port != to.port && !upgrade {
		return false
	}
	return from.host == to.host || strings.HasSuffix(to.host, "."+from.host) // no name ends in an address
}
