package template_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/provider/weburl"
)

const (
	march   = "2026-03-04T05:06:07.089Z"
	january = "2026-01-31T00:00:00.000Z"
)

// same stands for "as in the Object dialect".
const same = "\x00"

// The numbers are those of the wire contract's table of test vectors. Every row agrees with it, except that the digest
// printed there for row 44 is not the SHA-256 of the text it names, "${gap} || ann"; the one here is, and it equals the
// digest of the Flat column of row 33.
func TestVectorsOfTheThreeDialects(t *testing.T) {
	t.Parallel()
	cases := []struct {
		number                int
		text, names           string
		now                   string
		object, wrapper, flat string
	}{
		{1, "https://${connectionConfig.shop}.x.test/v${connectionConfig.rev}", `{"connectionConfig":{"shop":"blue","rev":3}}`, "", "https://blue.x.test/v3", same, same},
		{2, "${connectionConfig.gone}/a", `{"connectionConfig":{}}`, "", "${connectionConfig.gone}/a", same, same},
		{3, "${connectionConfig.blank}!", `{"connectionConfig":{"blank":""}}`, "", "!", same, same},
		{4, "${connectionConfig.none}", `{"connectionConfig":{"none":null}}`, "", "${connectionConfig.none}", same, same},
		{5, "${connectionConfig.zero}", `{"connectionConfig":{"zero":0}}`, "", "0", same, same},
		{6, "${connectionConfig.on}", `{"connectionConfig":{"on":true}}`, "", "${connectionConfig.on}", same, same},
		{7, "${on}-${tree}-${many}", `{"on":true,"tree":{"k":1},"many":["x","y"]}`, "", "${on}-${tree}-${many}", same, "true-[object Object]-x,y"},
		{8, "${connectionConfig.a.b}", `{"connectionConfig":{"a":{"b":"deep"}}}`, "", "deep", same, same},
		{9, "${a.b}", `{"a.b":"flat"}`, "", "flat", same, same},
		{10, "${a.b}", `{"a.b":"flat","a":{"b":"deep"}}`, "", "deep", same, "flat"},
		{11, "${many.1}", `{"many":["x","y"]}`, "", "y", same, same},
		{12, "${ key }/${Key}/{key}/${key", `{"key":"k"}`, "", "${ key }/${Key}/{key}/${key", same, same},
		{13, "$${key}", `{"key":"k"}`, "", "$k", same, same},
		{14, "${outer}", `{"outer":"${inner}","inner":"i"}`, "", "${inner}", same, same},
		{15, "${left} || ${right}", `{"left":"L","right":"R"}`, "", "L", same, "L || R"},
		{16, "${left} || ${right}", `{"right":"R"}`, "", "R", same, "${left} || R"},
		{17, "${left} || ${right}", `{"left":"","right":"R"}`, "", "R", same, " || R"},
		{18, "${left} || ${right}", `{}`, "", "${right}", same, "${left} || ${right}"},
		{19, "${left} || fixed", `{}`, "", "fixed", same, "${left} || fixed"},
		{20, "fixed || ${right}", `{"right":"R"}`, "", "R", same, "fixed || R"},
		{21, "fixed || other", `{}`, "", "other", "fixed || other", "fixed || other"},
		{22, "${left}-${gap} || ${right}", `{"left":"L","right":"R"}`, "", "L-${gap}", same, "L-${gap} || R"},
		{23, "${a} || ${b} || ${c}", `{"c":"3"}`, "", "${b}", same, "${a} || ${b} || 3"},
		{24, "${left} ||", `{}`, "", "", same, "${left} ||"},
		{25, "${word}", `{"word":"p||q"}`, "", "p||q", same, same},
		{26, "Basic ${base64(${user}:${pass})}", `{"user":"ann","pass":"s3"}`, "", "Basic YW5uOnMz", same, same},
		{27, "${base64(${user}:)}", `{}`, "", "JHt1c2VyfTo=", same, same},
		{28, "${base64(${gap} || ${user})}", `{"user":"ann"}`, "", "YW5u", "ann)}", "JHtnYXB9IHx8IGFubg=="},
		{29, "${base64(f(${user}))}", `{"user":"ann"}`, "", "Zihhbm4p", same, same},
		{30, "${base64(${base64(${user})})}", `{"user":"ann"}`, "", "JHtiYXNlNjQoYW5u)}", same, same},
		{31, "${base64(né)}", `{}`, "", "bsOp", same, same},
		{32, "${sha256Base64(${user})}", `{"user":"ann"}`, "", "SZFeDX1LQC4wF9AQvBwOg8rGx5fWwW5mNA/jJoaTpqE=", same, same},
		{33, "${sha256Base64(${gap} || ${user})}", `{"user":"ann"}`, "", "SZFeDX1LQC4wF9AQvBwOg8rGx5fWwW5mNA/jJoaTpqE=", "ann)}", "H/mULlPpIEPiImaoJbwZjJ1OhzWGqbz62Vzu6ecDycw="},
		{34, "${hmacSha1Hex(one,two, ${key})}", `{"key":"key"}`, "", "29da25fe9e67f65e86c47450cb4d491051e6165c", same, same},
		{35, "${hmacSha1Hex(solo)}", `{}`, "", "${hmacSha1Hex(solo)}", same, same},
		{36, "${now} ${now:X} ${now:x}", `{}`, march, "2026-03-04T05:06:07.089Z 1772600767 1772600767089", same, same},
		{37, "${now:YYYY-MM-DDTHH:mm:ss[Z]}", `{}`, march, "2026-03-04T05:06:07Z", same, same},
		{38, "${now+7:days:YYYY-MM-DD} ${now-90:seconds:X}", `{}`, march, "2026-03-11 1772600677", same, same},
		{39, "${now+1:months:YYYY-MM-DD}", `{}`, january, "2026-02-28", same, same},
		{40, "${now+7:days} ${now+1.5:hours:X}", `{}`, march, "${now+7:days} ${now+1.5:hours:X}", same, same},
		{41, "${now+5:decades:YYYY}", `{}`, march, "2026", same, same},
		{42, "${random}", `{"random":"rid-1"}`, "", "rid-1", same, same},
		{43, "[${endpoint}]", `{}`, "", "[]", same, "[${endpoint}]"},
		{44, "${sha256Hex(${gap} || ${user})}", `{"user":"ann"}`, "", "1ff9942e53e92043e22266a825bc198c9d4e873586a9bcfad95ceee9e703c9cc", "ann)}", same},
		{
			45, "${awsSigV4(${k},${s},eu-west-1,svc)}",
			`{"k":"AKIDX","s":"SECRETX","method":"POST","path":"/q","urlCanonicalParams":"a=1","bodyCanonicalParams":"{\"x\":1}","contentType":"application/json"}`, march,
			"AWS4-HMAC-SHA256 Credential=AKIDX/20260304/eu-west-1/svc/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=a37c10240a1e3365bffa851aba23521c81e09926811a81c57684a8b28808d667", same, same,
		},
	}
	for _, c := range cases {
		scope := &template.Scope{Layers: []map[string]any{object(t, c.names)}}
		if c.now != "" {
			now, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			scope.Now = now
		}
		parsed := template.Parse(c.text)
		for _, d := range []struct {
			name    string
			dialect template.Dialect
			want    string
		}{{"object", template.Object, c.object}, {"wrapper", template.Wrapper, c.wrapper}, {"flat", template.Flat, c.flat}} {
			want := d.want
			if want == same {
				want = c.object
			}
			if got := parsed.Eval(d.dialect, scope).Text; got != want {
				t.Errorf("%d %s of %s:\n got %s\nwant %s", c.number, d.name, c.text, got, want)
			}
		}
	}
}

// Rows 47 and 50 differ in part, on purpose. The contract tries an unusable URL once more with everything decoded, so that
// a sub-domain "evil.test/" moves the whole request, client secret included, to another host; here only a value at the
// start of the text is taken undecoded (row 51), and row 47 is an error for every value with a slash. In row 50 the
// contract writes the text "null" for a null value; here null is an absent value and an error.
func TestVectorsOfOAuthURLs(t *testing.T) {
	t.Parallel()
	const tenantPath = "https://x.test/${connectionConfig.t}/oauth"
	cases := []struct {
		number             int
		text, config, want string
	}{
		{46, "https://${connectionConfig.sub}.x.test/oauth", `{"sub":"blue"}`, "https://blue.x.test/oauth"},
		{47, "https://${connectionConfig.sub}.x.test/oauth", `{"sub":"a b/c"}`, ""},
		{47, "https://${connectionConfig.sub}.x.test/oauth", `{"sub":"evil.test/"}`, ""},
		{48, "https://x.test/${connectionConfig.t}/oauth?q=1", `{"t":"a b/c"}`, "https://x.test/a%20b%2Fc/oauth?q=1"},
		{49, tenantPath, `{"t":""}`, ""},
		{49, tenantPath, `{}`, ""},
		{50, tenantPath, `{"t":null}`, ""},
		{51, "${connectionConfig.base}/oauth", `{"base":"https://y.test/p?x=1"}`, "https://y.test/p?x=1/oauth"},
		{52, "https://${connectionConfig.a} || https://x.test", `{}`, "https://x.test/"},
		{53, "https://x.test/a || https://y.test/b", `{}`, "https://y.test/b"},
		{54, "https://x.test/${connectionConfig.a.b}", `{"a":{"b":"d"}}`, ""},
		{54, "https://x.test/${connectionConfig.a.b}", `{"a.b":"d"}`, "https://x.test/d"},
	}
	for _, c := range cases {
		u, err := template.URL(template.Parse(c.text), "token_url", template.URLValues{ConnectionConfig: object(t, c.config)})
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%d: %s gave %s, want an error", c.number, c.config, u)
		case c.want != "" && (err != nil || u.String() != c.want):
			t.Errorf("%d: %s gave %v, %v, want %s", c.number, c.config, u, err, c.want)
		}
	}
}

func TestURLErrorsSayWhichValueIsMissingAndWhere(t *testing.T) {
	t.Parallel()
	_, err := template.URL(template.Parse("https://${connectionConfig.sub}.x.test"), "token_url", template.URLValues{})
	want := &template.UnresolvedError{Name: "connectionConfig.sub", Place: "token_url"}
	var got *template.UnresolvedError
	if !errors.As(err, &got) || *got != *want || err.Error() != "token_url needs a value for ${connectionConfig.sub}" {
		t.Errorf("got %v, want %v", err, want)
	}

	_, err = template.URL(template.Parse("https://${sub}.x.test"), "token_url", template.URLValues{
		ConnectionConfig: map[string]any{"sub": "s3cr3t value"},
	})
	if !errors.Is(err, weburl.ErrInvalid) || !strings.HasPrefix(err.Error(), "token_url: ") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v, want weburl.ErrInvalid with the place and without the value", err)
	}
}

func TestURLReadsCredentialsAndIntegrationConfig(t *testing.T) {
	t.Parallel()
	values := template.URLValues{
		ConnectionConfig:  map[string]any{"id": "config", "flag": true},
		Credentials:       map[string]any{"id": "credential"},
		IntegrationConfig: map[string]string{"host": "https://i.test/v 1", "part": "a/b"},
	}
	cases := []struct{ text, want string }{
		{"https://x.test/${connectionConfig.id}/${credentials.id}", "https://x.test/credential/credential"},
		{"https://x.test/${connectionConfig.flag}", "https://x.test/true"},
		{"${integrationConfig.host}/${integrationConfig.part}", "https://i.test/v%201/a%2Fb"},
	}
	for _, c := range cases {
		u, err := template.URL(template.Parse(c.text), "token_url", values)
		if err != nil || u.String() != c.want {
			t.Errorf("%s gave %v, %v, want %s", c.text, u, err, c.want)
		}
	}

	values.Raw = true
	u, err := template.URL(template.Parse("https://x.test/${integrationConfig.part}"), "token_url", values)
	if err != nil || u.String() != "https://x.test/a/b" {
		t.Errorf("raw values gave %v, %v, want them as they are", u, err)
	}
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMissingNamesPlaceholdersInsideCallsButNotOnTheSideNotTaken(t *testing.T) {
	t.Parallel()
	scope := &template.Scope{Layers: []map[string]any{{"user": "ann"}}}
	cases := []struct {
		text string
		want []string
	}{
		{"${user}", nil},
		{"${base64(${org}:${user})}", []string{"org"}},
		{"${org} || ${user}", nil},
		{"${org} || ${team}", []string{"team"}},
		{"${ed25519Sign(${user},no key)}", []string{"ed25519Sign"}},
		{"${unknown(${user})}", []string{"unknown("}},
		{"${user", []string{"user"}},
	}
	for _, c := range cases {
		got := template.Parse(c.text).Eval(template.Object, scope).Missing
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: missing (-want +got)\n%s", c.text, diff)
		}
	}
}
