package canonical_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/outbound/canonical"
)

// The golden vectors of the wire contract: input, number of canonical bytes, their SHA-256.
var golden = []struct {
	name, input string
	length      int
	sum         string
}{
	{"V1", `{"b":1,"a":"x"}`, 15, "cdab067e9f3beb32d1252cfd63e492592fecbf591b0d08cadb24bb17f3864246"},
	{
		"V2", `{"type":"forward","from":"github","providerConfigKey":"gh-prod","connectionId":"c_1","payload":{"z":1,"a":"<b>&amp;</b>","\u00e9":"\u00fcn\u00ef \u2013 \u65e5\u672c \ud83d\ude00","10":"ten","9":"nine","B":true,"num":[1e21,0.1,-0,1.0,1e-7,123456789012345678,0.1e1,100000000000000000000],"nested":[{"y":null,"x":[]},{}],"sep":"\u2028\u2029/","ctl":"\u0001\b\f\n\t\"\\\u007f"}}`,
		328, "75902613f9f81ef66987a2a8f05f7705d1c8b711da2a6410fc5c73df4366021b",
	},
	{
		"V3", `{"\ufb00":1,"\ud83d\ude00":2,"Z":3,"a":4,"-1":5,"01":6,"4294967295":7,"4294967294":8,"0":9}`,
		80, "9d34fba6d84a2d3eedafec62b4ebdca086658413a8706d01ec1fb2a89e767bf0",
	},
	{"V4", `[3,{"b":[],"a":{}},"x"]`, 23, "2a8f2a00ef5c8a9c78f3b44f39e43681ba3c1becfda5c3b6731d9c53d7ea5319"},
	{"V5", `{}`, 2, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
}

func TestGoldenVectors(t *testing.T) {
	t.Parallel()
	for _, v := range golden {
		got, err := canonical.Bytes([]byte(v.input))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(got)
		if len(got) != v.length || hex.EncodeToString(sum[:]) != v.sum {
			t.Errorf("%s: %d bytes: %s", v.name, len(got), got)
		}
	}
}

func TestNumbersPrintAsInJavaScript(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		"1e21": "1e+21", "1e20": "100000000000000000000", "0.000001": "0.000001", "0.0000001": "1e-7", "1.50": "1.5", "-0.0": "0", "1e999": "null",
		"9007199254740993": "9007199254740992", "5e-324": "5e-324", "1.7976931348623157e308": "1.7976931348623157e+308", "-1e-10": "-1e-10",
	} {
		got, err := canonical.Bytes([]byte(input))
		if err != nil || string(got) != want {
			t.Errorf("%s prints as %s, %v; want %s", input, got, err, want)
		}
	}
}

func TestWhatIsNotOneJSONValueIsRefused(t *testing.T) {
	t.Parallel()
	for _, input := range []string{"", "{", "1 2", `{"a":}`, "undefined"} {
		if got, err := canonical.Bytes([]byte(input)); err == nil {
			t.Errorf("%q becomes %s", input, got)
		}
	}
}

// FuzzBytes: canonical JSON is its own canonical form.
func FuzzBytes(f *testing.F) {
	for _, v := range golden {
		f.Add([]byte(v.input))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		once, err := canonical.Bytes(input)
		if err != nil {
			return
		}
		if !json.Valid(once) {
			t.Fatalf("%q becomes %q, which is no JSON", input, once)
		}
		twice, err := canonical.Bytes(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q becomes %q and then %q, %v", input, once, twice, err)
		}
	})
}
