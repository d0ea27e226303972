package api

import (
	"net/http"
	"testing"
)

func TestRoutesAreFoundAsTheSDKsAskForThem(t *testing.T) {
	t.Parallel()
	var rt router
	var got string
	named := func(name string) handler {
		return func(http.ResponseWriter, *request) error { got = name; return nil }
	}
	for _, route := range [][2]string{
		{"GET", "/connections"}, {"GET", "/connections/:connectionId"}, {"POST", "/connections/metadata"}, {"GET", "/records"}, {"", "/proxy"}, {"", "/proxy/*"},
		{"POST", "/sync/:name/variant/:variant"}, {"POST", "/sync/trigger"},
	} {
		rt.handle(route[0], route[1], named(route[0]+" "+route[1]))
	}
	tests := []struct{ method, path, want, param, value string }{
		{"GET", "/connections", "GET /connections", "", ""},
		{"GET", "/connections/", "GET /connections", "", ""},
		{"GET", "/Connections/a%2Fb%20c", "GET /connections/:connectionId", "connectionId", "a/b c"},
		{"GET", "/connections/metadata", "GET /connections/:connectionId", "connectionId", "metadata"},
		{"POST", "/connections/metadata", "POST /connections/metadata", "", ""},
		{"GET", "/records/", "GET /records", "", ""},
		{"PROPFIND", "/proxy", " /proxy", "", ""},
		{"DELETE", "/proxy/v1/a%2Fb/", " /proxy/*", "", ""},
		{"POST", "/sync/trigger", "POST /sync/trigger", "", ""},
		{"POST", "/sync/contacts/variant/eu", "POST /sync/:name/variant/:variant", "variant", "eu"},
		{"DELETE", "/connections", "", "", ""},
		{"GET", "/", "", "", ""},
		{"GET", "/connections/a/b", "", "", ""},
		{"GET", "/connections/%zz", "", "", ""},
	}
	for _, test := range tests {
		got = ""
		h, params := rt.find(test.method, test.path)
		if h != nil {
			_ = h(nil, nil)
		}
		if got != test.want || params[test.param] != test.value {
			t.Errorf("%s %s goes to %q with %v, want %q", test.method, test.path, got, params, test.want)
		}
	}
}

// FuzzRouter: no path makes the router panic or find a handler of another method.
func FuzzRouter(f *testing.F) {
	var rt router
	rt.handle("GET", "/a/:b/c", func(http.ResponseWriter, *request) error { return nil })
	rt.handle("GET", "/a/x/*", func(http.ResponseWriter, *request) error { return nil })
	for _, seed := range []string{"/", "//", "/a//c", "/a/x/", "/a/%2F/c", "/a/%", "/a/x/../c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		rt.find("GET", path)
		if h, _ := rt.find("POST", path); h != nil {
			t.Errorf("POST %q finds a GET handler", path)
		}
	})
}
