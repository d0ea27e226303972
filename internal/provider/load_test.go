package provider_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/provider"
)

const plain = `display_name: Example
docs: https://example.com/docs
auth_mode: API_KEY
proxy:
  base_url: https://api.example.com
  headers:
    x-api-key: ${apiKey}
`

// files makes a file system of "name: content" pairs; the ending .yaml is added.
func files(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i]
		if !strings.Contains(name, ".") {
			name += ".yaml"
		}
		m[name] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestLoadReportsEveryProblemOfEveryFileWithItsLine(t *testing.T) {
	t.Parallel()
	_, err := provider.Load(files(
		"good", plain,
		"unknown-keys", plain+"colour: red\ncredentials:\n  apiKey: {type: string, title: t, description: d, size: 3}\n",
		"missing", "display_name: Missing\n",
		"types", strings.Replace(plain, "https://example.com/docs", "7", 1)+"  retry:\n    error_code: [429]\n",
		"syntax", "display_name: a\n\tdocs: b\n",
		"twice", plain+"display_name: Again\n",
		"empty", "",
		"anchors", "display_name: &a x\ndocs: *a\n",
		"two", plain+"---\n"+plain,
		"Upper_Case", plain,
		"wrong.yml", plain,
		"notes.txt", "not a catalog file",
		".hidden.yaml", "not: looked at",
		"list", "- a\n- b\n",
		"alias-of-broken", "alias: missing\n",
		"alias-of-nothing", "alias: nothing\n",
		"alias-of-itself", "alias: alias-of-itself\n",
	))
	want := []string{
		`Upper_Case.yaml: the file name must be an id of lower-case letters, digits and dashes with the ending .yaml`,
		`alias-of-itself.yaml:1: alias alias-of-itself is this entry itself and there is none below it`,
		`alias-of-nothing.yaml:1: alias nothing: there is no such provider`,
		`anchors.yaml:2: anchors and aliases are not allowed; repeat the value, or use the key alias`,
		`empty.yaml: the file is empty`,
		`list.yaml:1: the file must be a map of keys`,
		`missing.yaml:1: the entry needs docs, auth_mode`,
		`syntax.yaml:2: not valid YAML: found a tab character that violates indentation`,
		`twice.yaml:8: the key "display_name" is there twice, first in line 1`,
		`two.yaml:8: a file holds one entry, this is a second document`,
		`types.yaml:2: docs must be of type string, it is of type number`,
		`types.yaml:9: proxy.retry.error_code.0 must be of type string, it is of type number`,
		`unknown-keys.yaml:8: unknown key colour`,
		`unknown-keys.yaml:10: unknown key credentials.apiKey.size`,
		`wrong.yml: the file name must be an id of lower-case letters, digits and dashes with the ending .yaml`,
	}
	if diff := cmp.Diff(want, lines(t, err)); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
}

func lines(t *testing.T, err error) []string {
	t.Helper()
	var problems provider.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("got %v, want Problems", err)
	}
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

func TestSemanticRules(t *testing.T) {
	t.Parallel()
	const head = "display_name: X\ndocs: https://example.com\n"
	oauth := head + "auth_mode: OAUTH2\nauthorization_url: https://x.test/a\ntoken_url: https://x.test/t\n"
	proxy := "proxy:\n  base_url: https://x.test\n"
	field := "    type: string\n    title: T\n    description: D\n"
	key := head + "auth_mode: API_KEY\n" + proxy + "  headers: {x-key: \"${apiKey}\"}\n"
	cases := []struct{ name, text, want string }{
		{"a mode lacks what it needs", head + "auth_mode: OAUTH2\n" + proxy, "x.yaml:3: OAUTH2 needs the key authorization_url\nx.yaml:3: OAUTH2 needs the key token_url"},
		{"no base URL", oauth, "x.yaml:1: OAUTH2 needs proxy.base_url"},
		{"credentials nobody asks for", oauth + proxy + "credentials:\n  apiKey:\n" + field, "x.yaml:8: OAUTH2 does not ask for credentials"},
		{"API_KEY without apiKey", key + "credentials:\n  token:\n" + field, "x.yaml:7: API_KEY needs the credential apiKey"},
		{"an API key that is sent nowhere", head + "auth_mode: API_KEY\n" + proxy, "x.yaml:4: API_KEY: no header, query, body or base URL of the proxy holds ${apiKey}"},
		{"plain http", oauth + "proxy:\n  base_url: http://x.test\n", "x.yaml:7: proxy.base_url must begin with https:// or with a placeholder"},
		{"plain http behind the bars", oauth + "proxy:\n  base_url: https://x.test || http://y.test\n", "x.yaml:7: proxy.base_url must begin with https:// or with a placeholder"},
		{"a scope in the URL", strings.Replace(oauth, "x.test/a", "x.test/a?scope=b", 1) + proxy, "x.yaml:4: scopes belong to default_scopes, not into the URL"},
		{
			"an undeclared connection_config name", oauth + "proxy:\n  base_url: https://${connectionConfig.sub}.x.test\n",
			"x.yaml:7: proxy.base_url: ${connectionConfig.sub} is declared nowhere: add it to connection_config, token_response_metadata, redirect_uri_metadata or post_connection",
		},
		{
			"a declared and unused field", oauth + proxy + "connection_config:\n  sub:\n" + field,
			"x.yaml:9: connection_config.sub is never used; no template holds ${connectionConfig.sub}",
		},
		{"a misspelt name", oauth + "proxy:\n  base_url: https://${conectionConfig.sub}.x.test\n", "x.yaml:7: proxy.base_url: ${conectionConfig.sub} means nothing here"},
		{"metadata where there is none", oauth + proxy + "  query: {a: \"${metadata.a}\"}\n", "x.yaml:8: proxy.query.a: ${metadata.a} means nothing here"},
		{"a header name its mode can't see", oauth + proxy + "  headers: {a: \"${access_token}\"}\n", "x.yaml:8: proxy.headers.a: ${access_token} means nothing here"},
		{"a credential that does not exist", key + "  query: {a: \"${credentials.token}\"}\n", "x.yaml:7: proxy.query.a: ${credentials.token} is no credential of this provider"},
		{"a lone brace", oauth + "proxy:\n  base_url: https://{sub}.x.test\n", "x.yaml:7: proxy.base_url holds a { without a $ before it; a placeholder is written ${name}"},
		{"a forgotten dollar in a body", oauth + proxy + "  body: {a: \"{sub}\"}\n", "x.yaml:8: proxy.body.a holds a { without a $ before it; a placeholder is written ${name}"},
		{"a GraphQL query is no placeholder", oauth + proxy + "  body: {a: \"query { b { c } }\"}\n", ""},
		{
			"an unknown function", key + "  query: {a: \"${md5(${apiKey})}\"}\n",
			`x.yaml:7: proxy.query.a: "${md5(" is no placeholder: it is not closed, or the function does not exist or has other arguments`,
		},
		{"an undeclared integration_config name", oauth + "proxy:\n  base_url: ${integrationConfig.url}\n", "x.yaml:7: proxy.base_url: ${integrationConfig.url} is not declared in integration_config"},
		{"keys of another kind of pagination", key + "  paginate: {type: link, link_rel_in_response_header: next, offset_name_in_request: a}\n", "x.yaml:7: proxy.paginate.offset_name_in_request means nothing for the type link"},
		{"half a pagination", key + "  paginate: {type: cursor, cursor_name_in_request: a}\n", "x.yaml:7: cursor pagination needs cursor_name_in_request and cursor_path_in_response"},
		{"a value pattern without a group", key + "  retry: {in_body: {path: a, value: b, strategy: at}}\n", "x.yaml:7: proxy.retry.in_body.value needs exactly one group"},
		{"a default that breaks its own rule", key + "connection_config:\n  a:\n" + field + "    automated: true\n    enum: [b]\n    default_value: c\n", "x.yaml:14: the default of a must be one of b"},
		{"an example that breaks its own rule", key + "connection_config:\n  a:\n" + field + "    automated: true\n    format: uuid\n    example: c\n", "x.yaml:14: the example of a must be a UUID"},
		{"a bad pattern", key + "connection_config:\n  a:\n" + field + "    automated: true\n    pattern: \"(\"\n", "x.yaml:13: connection_config.a.pattern is no valid regex: error parsing regexp: missing closing ): `(`"},
		{"visible_when names nothing", key + "integration_config:\n  a:\n" + field + "    optional: true\n    visible_when: {field: b, equals: c}\n", "x.yaml:13: visible_when of a names b, which is no field"},
		{"visible_when leads back", key + "integration_config:\n  a:\n" + field + "    optional: true\n    visible_when: {field: a, equals: c}\n", "x.yaml:13: visible_when of a leads back to it"},
		{"bad range of statuses", key + "  retry: {error_code: [\"502-500\"]}\n", "x.yaml: \"502-500\" is no HTTP status, class (5xx) or range (500-502)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := provider.Load(files("x", c.text))
			if got := strings.Join(lines(t, err), "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAliasReplacesWholeKeysAndMayPointUpwards(t *testing.T) {
	t.Parallel()
	catalog, err := provider.Load(files(
		"a-copy-of-copy", "alias: b-copy\ndisplay_name: Third\n",
		"b-copy", "alias: c-original\ndisplay_name: Second\nproxy:\n  base_url: https://other.example.com\n  query: {key: \"${apiKey}\"}\n",
		"c-original", plain,
	))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := catalog.Get("a-copy-of-copy")
	if p.DisplayName != "Third" || p.AuthMode != provider.APIKey || p.Alias != "b-copy" {
		t.Errorf("got %s, %s, %s", p.DisplayName, p.AuthMode, p.Alias)
	}
	if p.Proxy.BaseURL.String() != "https://other.example.com" || p.Proxy.Headers != nil {
		t.Errorf("proxy was merged with the original's: %+v", p.Proxy)
	}
	if p.Document["docs"] != "https://example.com/docs" || p.Document["display_name"] != "Third" {
		t.Errorf("document: %v", p.Document)
	}
	original, _ := catalog.Get("c-original")
	if original.DisplayName != "Example" || original.Document["alias"] != nil {
		t.Error("the aliases changed what they copy")
	}
}

func TestAliasesInACircleAreReportedOnce(t *testing.T) {
	t.Parallel()
	_, err := provider.Load(files("a", "alias: b\n", "b", "alias: a\n"))
	if got := lines(t, err); len(got) != 1 || !strings.Contains(got[0], "leads back to this entry") {
		t.Errorf("got %q, want one problem", got)
	}
}

func TestProblemsOfAnAliasAreReportedWhereTheyWereWritten(t *testing.T) {
	t.Parallel()
	broken := strings.Replace(plain, "https://api", "http://api", 1)
	_, err := provider.Load(files("base", broken, "copy", "alias: base\n"))
	want := []string{"base.yaml:5: proxy.base_url must begin with https:// or with a placeholder"}
	if diff := cmp.Diff(want, lines(t, err)); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
}

func TestOverlayReplacesAnEntryOrSomeOfItsKeys(t *testing.T) {
	t.Parallel()
	base := files("one", plain, "two", plain)
	overlay := files(
		"one", strings.Replace(plain, "Example", "Replaced", 1),
		"two", "alias: two\ndisplay_name: Changed\n",
		"three", "alias: one\ndisplay_name: Added\n",
	)
	catalog, err := provider.Load(base, overlay)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range catalog.List() {
		got = append(got, p.Name+" "+p.DisplayName+" "+p.Docs)
	}
	want := []string{
		"one Replaced https://example.com/docs", "three Added https://example.com/docs", "two Changed https://example.com/docs",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("catalog (-want +got)\n%s", diff)
	}
	if two, _ := catalog.Get("two"); two.Alias != "" && two.Document["alias"] != nil {
		t.Error("an entry that changes itself shows as an alias of itself")
	}
	if _, ok := catalog.Get("four"); ok {
		t.Error("found a provider that does not exist")
	}
}

// The property: whatever a file holds, Load ends without a panic, and either gives the provider or says why not, at a
// line that the file has.
func FuzzLoad(f *testing.F) {
	f.Add(plain)
	f.Add("alias: x\n")
	f.Add("a: &b {c: *b}\n<<: {d: 0x1F}\n")
	f.Add("display_name: 2024-01-01\nproxy: {retry: {error_code: [5xx]}}\ntoken_url: {OAUTH2: https://x.test}\n")
	f.Fuzz(func(t *testing.T, text string) {
		catalog, err := provider.Load(files("x", text))
		if err == nil {
			if _, ok := catalog.Get("x"); !ok {
				t.Fatal("no provider and no problem")
			}
			return
		}
		var problems provider.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("got %v, want Problems", err)
		}
		for _, p := range problems {
			if p.Line < 0 || p.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 || p.Message == "" {
				t.Fatalf("%v is outside the file", p)
			}
		}
	})
}
