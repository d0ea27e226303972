package host

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

func TestParametersMeetTheEndpointAsInABrowser(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ endpoint, params, want string }{
		{"items", ``, "/items"},
		{"/items?a=1", ``, "/items?a=1"},
		{"https://api.example.com/items", ``, "https://api.example.com/items"},
		{"/items", `"?a=b c"`, "/items?a=b c"},
		{"/items", `""`, "/items"},
		{"/items", `[]`, "/items"},
		{"/items?keep=%2F", `[]`, "/items?keep=%2F"},
		{"/items", `[["q","a b&c"],["n","1"]]`, "/items?q=a+b%26c&n=1"},
		{"/items?a=1&b=2&a=3#top", `[["a","x"]]`, "/items?a=x&b=2#top"},
		{"/items?a=1", `[["b","2"],["a","3"]]`, "/items?a=3&b=2"},
		{"/items?broken=%zz", `[["a","1"]]`, "/items?broken=%25zz&a=1"},
	} {
		got, err := target(test.endpoint, json.RawMessage(test.params))
		if err != nil || got != test.want {
			t.Errorf("%s with %s: %q %v, want %q", test.endpoint, test.params, got, err, test.want)
		}
	}
	if _, err := target("/items?a=1", json.RawMessage(`"b=2"`)); err == nil || !strings.Contains(err.Error(), "invalid_query_params") {
		t.Errorf("two queries: %v", err)
	}
	if _, err := target("/items", json.RawMessage(`{"a":1}`)); err == nil {
		t.Error("parameters of another form pass")
	}
}

func FuzzParametersAreSet(f *testing.F) {
	f.Add("/items?a=1&b=%20#x", "a", "v&=#?")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, endpoint, name, value string) {
		text, err := json.Marshal([][2]string{{name, value}})
		if err != nil || !json.Valid(text) {
			return
		}
		var pairs [][2]string // invalid UTF-8 does not survive JSON
		if err := json.Unmarshal(text, &pairs); err != nil {
			t.Fatal(err)
		}
		got, err := target(endpoint, text)
		if err != nil {
			t.Fatalf("%q: %v", endpoint, err)
		}
		_, query, _ := strings.Cut(strings.SplitN(got, "#", 2)[0], "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			return // the endpoint's own parameters may hold what Go's parser refuses, such as ";"
		}
		if all := values[pairs[0][0]]; len(all) != 1 || all[0] != pairs[0][1] {
			t.Errorf("%q with %s gives %q", endpoint, text, got)
		}
	})
}
