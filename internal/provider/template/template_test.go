package template_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

var dialects = []template.Dialect{template.Object, template.Wrapper, template.Flat}

func TestTextWithoutPlaceholderAndBarsIsUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		text = strings.ReplaceAll(strings.ReplaceAll(text, "${", ""), "||", "")
		scope := drawScope(t)
		for _, d := range dialects {
			if got := template.Parse(text).Eval(d, scope); got.Text != text || got.Missing != nil {
				t.Fatalf("dialect %d: %q became %+v", d, text, got)
			}
		}
	})
}

// The value may hold anything, placeholders and bars of its own included, and must arrive byte for byte.
func TestInsertedValuesAreNeverReadAgain(t *testing.T) {
	t.Parallel()
	hostile := rapid.SampledFrom([]string{"${b}", "||", "${base64(${b})}", "${now}", ")}", "}", "$", "${", ","})
	rapid.Check(t, func(t *rapid.T) {
		value := strings.Join(rapid.SliceOf(rapid.OneOf(hostile, rapid.String())).Draw(t, "value"), "")
		scope := &template.Scope{Layers: []map[string]any{{"a": value, "b": "SECOND"}}, Now: time.Unix(1, 0)}
		for _, c := range []struct {
			text string
			want string
		}{
			{"x${a}y", "x" + value + "y"},
			{"${base64(${a})}", base64.StdEncoding.EncodeToString([]byte(value))},
			{"${a}${b}", value + "SECOND"},
		} {
			for _, d := range dialects {
				if got := template.Parse(c.text).Eval(d, scope).Text; got != c.want {
					t.Fatalf("dialect %d of %s with %q: got %q, want %q", d, c.text, value, got, c.want)
				}
			}
		}
		if value != "" && value != "${a}" {
			if got := template.Parse("${a} || ${b}").Eval(template.Wrapper, scope).Text; got != value {
				t.Fatalf("a value on the left side: got %q, want %q", got, value)
			}
		}
	})
}

// A message and a key are told apart by the template's comma, whatever the values hold.
func TestArgumentsAreSplitBeforeValuesAreInserted(t *testing.T) {
	t.Parallel()
	parsed := template.Parse("${hmacSha1Hex(${m},${k})}")
	with := func(m, k string) string {
		return parsed.Eval(template.Object, &template.Scope{Layers: []map[string]any{{"m": m, "k": k}}}).Text
	}
	if with("a", "b,c") == with("a,b", "c") {
		t.Error("a comma in a value moved the border between message and key")
	}
}

func TestTwoStepParametersAreOnePass(t *testing.T) {
	t.Parallel()
	// Rows 85 and 86 of the wire contract's vectors give "cd" and "T": there a second pass reads what the first one
	// inserted and breaks passwords. Both differ here on purpose.
	scope := &template.Scope{
		Layers: []map[string]any{{"password": "ab||cd", "x": "X"}, {"connectionConfig": map[string]any{"t": "T"}}},
		Strip:  []string{"credentials."},
	}
	for text, want := range map[string]string{
		"${credentials.password}":                      "ab||cd",
		"${credentials.x} || ${connectionConfig.t}":    "X",
		"${credentials.gone} || ${connectionConfig.t}": "T",
	} {
		if got := template.Parse(text).Eval(template.Object, scope).Text; got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestScopeInsertsEveryKindOfValueTheContractInserts(t *testing.T) {
	t.Parallel()
	scope := &template.Scope{
		Layers: []map[string]any{
			{"shadow": "first", "null": nil},
			{
				"shadow": "second", "null": "below", "secret": secret.New("s3"), "int": 7, "int64": int64(8), "number": json.Number("9.50"),
				"float": 1.5, "tiny": 1e-7, "huge": 1e21, "tags": map[string]string{"a": "tag"}, "list": []any{nil, true, map[string]any{}},
			},
		},
		Random: "rid",
	}
	cases := []struct{ text, object, flat string }{
		{"${shadow}", "first", "first"},
		{"${null}", "below", "below"},
		{"${secret}", "s3", "s3"},
		{"${int} ${int64} ${number} ${float}", "7 8 9.50 1.5", "7 8 9.50 1.5"},
		{"${tiny} ${huge}", "1e-7 1e+21", "1e-7 1e+21"},
		{"${tags.a}", "tag", "tag"},
		{"${list}", "${list}", ",true,[object Object]"},
		{"${list.3} ${list.-1} ${int.x}", "${list.3} ${list.-1} ${int.x}", "${list.3} ${list.-1} ${int.x}"},
		{"${random}", "rid", "rid"},
	}
	for _, c := range cases {
		parsed := template.Parse(c.text)
		if got := parsed.Eval(template.Object, scope).Text; got != c.object {
			t.Errorf("object of %s: got %q, want %q", c.text, got, c.object)
		}
		if got := parsed.Eval(template.Flat, scope).Text; got != c.flat {
			t.Errorf("flat of %s: got %q, want %q", c.text, got, c.flat)
		}
	}
}

func TestClockFormats(t *testing.T) {
	t.Parallel()
	scope := &template.Scope{Now: time.Date(2024, 2, 29, 13, 4, 5, 67_000_000, time.FixedZone("", 3600))}
	cases := map[string]string{
		"${now}":                               "2024-02-29T12:04:05.067Z",
		"${now:YY-M-D H:m:s}":                  "24-2-29 12:4:5",
		"${now:dddd ddd dd d, MMMM MMM}":       "Thursday Thu Th 4, February Feb",
		"${now:hh:mm:ss.SSS A [at] a h}":       "12:04:05.067 PM at pm 12",
		"${now:ZZ Z}":                          "+0000 +00:00",
		"${now+1:y:YYYY-MM-DD}":                "2025-02-28",
		"${now-1:M:YYYY-MM-DD}":                "2024-01-29",
		"${now+1:w:MM-DD}":                     "03-07",
		"${now+90:m:HH:mm}":                    "13:34",
		"${now-1:Hours:HH}":                    "11",
		"${now+5:ms:SSS}":                      "072",
		"${now+999999999999:days:YYYY}":        "${now+999999999999:days:YYYY}",
		"${now:}":                              "${now:}",
		"${nowhere}":                           "${nowhere}",
		"${now+1:days:YYYY} ${now:[Y]YYYY[Y]}": "2024 Y2024Y",
	}
	for text, want := range cases {
		for _, d := range dialects {
			if got := template.Parse(text).Eval(d, scope).Text; got != want {
				t.Errorf("dialect %d of %s: got %q, want %q", d, text, got, want)
			}
		}
	}
}

func TestSigningFunctions(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scope := &template.Scope{Layers: []map[string]any{{"pem": pkcs8(t, private), "m": "one,two"}}}
	signed := template.Parse("${ed25519Sign(${m},${pem})}").Eval(template.Object, scope).Text
	signature, err := base64.StdEncoding.DecodeString(signed)
	if err != nil || !ed25519.Verify(public, []byte("one,two"), signature) {
		t.Errorf("%q is no signature of the message", signed)
	}
	if got := template.Parse("${ed25519Sign(${m},${m})}").Eval(template.Object, scope).Text; got != "${ed25519Sign(one,two,one,two)}" {
		t.Errorf("an unusable key gave %q, want the call with its placeholders filled", got)
	}

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	want := base64.StdEncoding.EncodeToString(sum[:])
	for name, key := range map[string]string{
		"private": pkcs8(t, rsaKey),
		"pkcs1":   string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})),
		"public":  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	} {
		scope := &template.Scope{Layers: []map[string]any{{"pem": key}}}
		if got := template.Parse("${fingerprint(${pem})}").Eval(template.Flat, scope).Text; got != want {
			t.Errorf("fingerprint of the %s key: got %q, want %q", name, got, want)
		}
		if got := template.Parse("${fingerprint(x)}").Eval(template.Object, scope); len(got.Missing) != 1 {
			t.Errorf("fingerprint outside the Flat dialect gave %+v, want it missing", got)
		}
	}
}

func TestAWSSignatureNeedsItsFourArgumentsAndAClock(t *testing.T) {
	t.Parallel()
	parsed := template.Parse("${awsSigV4(${k},s,r,v)}")
	now := time.Unix(1_772_600_767, 0)
	for name, scope := range map[string]*template.Scope{
		"an empty access key": {Layers: []map[string]any{{"k": ""}}, Now: now},
		"no clock":            {Layers: []map[string]any{{"k": "K"}}},
	} {
		if got := parsed.Eval(template.Object, scope); strings.Contains(got.Text, "Signature") || len(got.Missing) != 1 {
			t.Errorf("%s: got %+v, want no signature", name, got)
		}
	}
	with := template.Parse("${awsSigV4(k,s,r,v, h.test)}").Eval(template.Object, &template.Scope{Now: now}).Text
	without := template.Parse("${awsSigV4(k,s,r,v)}").Eval(template.Object, &template.Scope{Now: now}).Text
	if with == without || !strings.Contains(with, "SignedHeaders=host;x-amz-date,") {
		t.Errorf("the host argument changes nothing: %s, %s", with, without)
	}
	if template.Parse("${awsSigV4(k,s,r)}").Calls(template.Object, "awsSigV4") {
		t.Error("three arguments were accepted as a call")
	}
}

func TestTemplatesDescribeThemselves(t *testing.T) {
	t.Parallel()
	parsed := template.Parse("${base64(${a}:${connectionConfig.b})} ${a} ${now+1:days:X} || ${c}")
	if diff := cmp.Diff([]string{"a", "connectionConfig.b", "now", "c"}, parsed.Names(template.Wrapper)); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	if !parsed.Calls(template.Wrapper, "base64") || parsed.Calls(template.Wrapper, "sha256Hex") {
		t.Error("wrong calls")
	}
	if got := template.Parse("${md5(${a})} ${b").Stray(template.Object); len(got) != 2 {
		t.Errorf("stray: %q, want the unknown function and the unclosed placeholder", got)
	}
	var none *template.Template
	if none.String() != "" || !none.IsLiteral() || none.Eval(template.Object, nil).Text != "" || none.Names(template.Flat) != nil {
		t.Error("a nil template is not the empty text")
	}
	if !template.Parse(" ${a}/b").StartsWithPlaceholder() || template.Parse("https://${a}").StartsWithPlaceholder() {
		t.Error("wrong start")
	}
}

func TestTemplatesAreReadFromAndWrittenAsTheirText(t *testing.T) {
	t.Parallel()
	var parsed struct{ A, B *template.Template }
	text := `{"A":"${x} || y","B":null}`
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.B != nil || parsed.A.String() != "${x} || y" {
		t.Errorf("got %v and %v", parsed.A, parsed.B)
	}
	written, err := json.Marshal(parsed)
	if err != nil || string(written) != text {
		t.Errorf("written as %s, %v", written, err)
	}
	sides := parsed.A.Sides()
	if len(sides) != 2 || sides[0].String() != "${x}" || sides[1].String() != "y" {
		t.Errorf("sides %v", sides)
	}
	if alone := template.Parse("${x}").Sides(); len(alone) != 1 || alone[0].String() != "${x}" {
		t.Errorf("a text without bars has the sides %v", alone)
	}
}

func TestTreeKeepsShapeAndPrunesWhatIsMissing(t *testing.T) {
	t.Parallel()
	var tree template.Tree
	text := `{"k":"${apiKey}","n":{"a":"${gone}","b":"${apiKey}"},"e":{"z":"${gone}"},"l":["${gone}",1.50,null,true,"x"],"empty":{}}`
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	scope := &template.Scope{Layers: []map[string]any{{"apiKey": "K1"}}}

	pruned, missing := tree.EvalPruned(template.Wrapper, scope)
	want := map[string]any{
		"k": "K1", "n": map[string]any{"b": "K1"}, "l": []any{json.Number("1.50"), nil, true, "x"}, "empty": map[string]any{},
	}
	if diff := cmp.Diff(any(want), pruned); diff != "" {
		t.Errorf("pruned (-want +got)\n%s", diff)
	}
	gone := []string{"gone"}
	wantMissing := []template.Missing{{Path: "e.z", Names: gone}, {Path: "l.0", Names: gone}, {Path: "n.a", Names: gone}}
	if diff := cmp.Diff(wantMissing, missing); diff != "" {
		t.Errorf("missing (-want +got)\n%s", diff)
	}

	full, _ := tree.Eval(template.Wrapper, scope)
	if got := full.(map[string]any)["n"].(map[string]any)["a"]; got != "${gone}" {
		t.Errorf("Eval gave %q for a missing placeholder, want it as written", got)
	}
	if (template.Tree{}).Leaf() != nil || !(template.Tree{}).IsZero() || tree.IsZero() {
		t.Error("the zero tree is not absent")
	}
	if v, _ := (template.Tree{}).EvalPruned(template.Wrapper, scope); v != nil {
		t.Errorf("the zero tree gave %v", v)
	}
}

func TestFingerprintReadsEveryKindOfKey(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	of := func(key string) string {
		scope := &template.Scope{Layers: []map[string]any{{"pem": key}}}
		return template.Parse("${fingerprint(${pem})}").Eval(template.Flat, scope).Text
	}
	inSEC1 := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	if of(inSEC1) != of(pkcs8(t, ec)) || strings.Contains(of(inSEC1), "fingerprint") {
		t.Errorf("the same key has the fingerprints %q and %q", of(inSEC1), of(pkcs8(t, ec)))
	}
	for _, broken := range []string{"", "no key", "-----BEGIN X-----\nAAAA\n-----END X-----\n"} {
		if got := of(broken); !strings.HasPrefix(got, "${fingerprint(") {
			t.Errorf("%q has the fingerprint %q", broken, got)
		}
	}
}

// The property: whatever the text and the values, evaluation ends without a panic, in every dialect, twice the same, and
// reports nothing missing only if no "${" of the template is left.
func FuzzEvaluate(f *testing.F) {
	for _, seed := range []string{
		"https://${connectionConfig.shop}.x.test", "${a} || ${b} || c", "${base64(${a}:${b})}", "${hmacSha1Hex(${a},${b})}",
		"${awsSigV4(${a},${b},r,s)}", "${now+1:days:YYYY[x]}", "${ed25519Sign(${a},${sha256Hex(b)})}", "${fingerprint(${a})}",
		"${", "}${a", "${base64(${base64(${a})})}", "${sha256Hex(||)}", "${list.0}${tree.k.z}",
	} {
		f.Add(seed, "value", "${a}||)}")
	}
	f.Fuzz(func(t *testing.T, text, a, b string) {
		scope := &template.Scope{
			Layers: []map[string]any{{"a": a, "b": b, "list": []any{a}, "tree": map[string]any{"k": b}}, {a: b}},
			Now:    time.Unix(1_700_000_000, 0),
		}
		parsed := template.Parse(text)
		for _, d := range dialects {
			first, second := parsed.Eval(d, scope), parsed.Eval(d, scope)
			if first.Text != second.Text || len(first.Missing) != len(second.Missing) {
				t.Fatalf("dialect %d: two evaluations differ: %+v, %+v", d, first, second)
			}
			inert := !strings.Contains(a+b, "${") && !strings.Contains(text, "||")
			if inert && first.Missing == nil && strings.Contains(first.Text, "${") {
				t.Fatalf("dialect %d: %q left %q and says nothing is missing", d, text, first.Text)
			}
			parsed.Names(d)
			parsed.Stray(d)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	header := template.Parse("Basic ${base64(${credentials.username}:${credentials.password})}")
	base := template.Parse("https://${connectionConfig.subdomain}.example.com")
	literal := template.Parse("https://api.example.com")
	scope := &template.Scope{Layers: []map[string]any{{
		"connectionConfig": map[string]any{"subdomain": "blue"},
		"credentials":      map[string]any{"username": "ann", "password": "s3cr3t"},
	}}}
	for _, c := range []struct {
		name string
		t    *template.Template
	}{{"literal", literal}, {"path", base}, {"call", header}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.t.Eval(template.Wrapper, scope)
			}
		})
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			template.Parse("Basic ${base64(${credentials.username}:${credentials.password})}")
		}
	})
}

func drawScope(t *rapid.T) *template.Scope {
	value := rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
	)
	return &template.Scope{Layers: []map[string]any{rapid.MapOf(rapid.String(), value).Draw(t, "names")}}
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
