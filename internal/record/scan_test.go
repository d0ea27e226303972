package record

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzBatch: what is taken is what encoding/json reads, record by record, and nothing that it refuses gets in.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`[]`, `[{"id":"a"}]`, ` [ {"id" : 1.5e+3 , "x" : [1,{"y":null}] } , {"id":"b\u00e9\n"} ] `, `[{"id":"a","_nango_metadata":{},"id":"b"}]`,
		`[{"\u0069d":"x","deletedAt":"2026-01-02T03:04:05Z"}]`, `[{"id":"a"},]`, `[{"id":01}]`, `[{"id":"a"}`, `[{"id":-}]`, `[{"id":"` + "\x01" + `"}]`,
		`[{"id":"\ud800"}]`, `[{"id":1.}]`, `[{"id":"a","a":tru}]`, `[{"id":"a" "b":1}]`, strings.Repeat("[", 20_000),
	} {
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, deleting bool) {
		b, err := parseBatch(json.RawMessage(text), deleting)
		if err != nil {
			return
		}
		var want []map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q was taken, but is refused by encoding/json: %v", text, err)
		}
		if len(b.items)+len(b.duplicates) != len(want) {
			t.Fatalf("%q has %d records, %d were found", text, len(want), len(b.items)+len(b.duplicates))
		}
		for _, it := range b.items {
			var payload map[string]any
			if err := json.Unmarshal(it.payload, &payload); err != nil {
				t.Fatalf("the payload %q of %q: %v", it.payload, text, err)
			}
			if payload["id"] != it.id || it.payload[0] != '{' || it.payload[len(it.payload)-1] != '}' {
				t.Fatalf("the payload of %q is %q", it.id, it.payload)
			}
			if _, there := payload[metadataKey]; there {
				t.Fatalf("%q keeps the metadata", it.payload)
			}
		}
		if len(want) == 1 {
			delete(want[0], metadataKey)
			want[0]["id"] = b.items[0].id
			var payload map[string]any
			if err := json.Unmarshal(b.items[0].payload, &payload); err != nil || !reflect.DeepEqual(payload, want[0]) {
				t.Fatalf("%q became %q (%v)", text, b.items[0].payload, err)
			}
		}
	})
}

// FuzzScanner: the scanner knows JSON when it sees it.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e-7,true,false,null,"\u12aF\\"]}`, `"`, `{"a"}`, `nul`, `1e`, `[1 2]`, "\"\x7f\"", `00`, `-`, ``, ` 1 `, "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scanner{text: text}
		_, err := s.value()
		s.space()
		if valid := err == nil && s.pos == len(text); valid != json.Valid(text) {
			t.Errorf("%q: valid %t, encoding/json says %t (%v)", text, valid, json.Valid(text), err)
		}
	})
}

// FuzzOverlay: the result is what JavaScript's deep merge of the two objects would be.
func FuzzOverlay(f *testing.F) {
	f.Add(`{"a":{"b":1,"c":[1]},"d":null}`, `{"a":{"b":{"x":1},"c":[]},"e":1}`)
	f.Add(`{}`, `{"a":1,"a":{"b":2}}`)
	f.Fuzz(func(t *testing.T, object, change string) {
		var a, b map[string]any
		if json.Unmarshal([]byte(object), &a) != nil || json.Unmarshal([]byte(change), &b) != nil || a == nil || b == nil {
			return
		}
		if strings.Count(object+change, `"`) != strings.Count(object+change, `":`)*2 || hasTwins(object) || hasTwins(change) {
			return // keys that come twice are the scanner's business
		}
		merged, err := overlay([]byte(strings.TrimSpace(object)), []byte(strings.TrimSpace(change)))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(merged, &got); err != nil {
			t.Fatalf("%q: %v", merged, err)
		}
		if want := deepMerge(a, b); !reflect.DeepEqual(got, want) {
			t.Errorf("%s over %s is %s, want %v", change, object, merged, want)
		}
	})
}

// hasTwins reports whether some object has a key twice, or escapes.
func hasTwins(text string) bool {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, `"`) {
		if seen[part] && part != "" && !strings.ContainsAny(part, ":,{}[] ") || strings.Contains(part, `\`) {
			return true
		}
		seen[part] = true
	}
	return false
}

func deepMerge(a, b map[string]any) map[string]any {
	for key, value := range b {
		inner, ok := value.(map[string]any)
		if old, isObject := a[key].(map[string]any); ok && isObject {
			a[key] = deepMerge(old, inner)
			continue
		}
		a[key] = value
	}
	return a
}
