package input_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
)

func issues(t *testing.T, r *input.Reader) []errs.Issue {
	t.Helper()
	err := r.Err("invalid_body")
	if err == nil {
		return nil
	}
	var known *errs.Error
	if !errors.As(err, &known) || known.Status != http.StatusBadRequest || known.Code != "invalid_body" {
		t.Fatalf("err = %v", err)
	}
	return known.Issues
}

func TestEveryFaultOfABodyIsReportedAtItsPath(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		read func(r *input.Reader)
		want []errs.Issue
	}{
		"no body": {
			body: "",
			read: func(r *input.Reader) { r.String("name", input.Text{Required: true}) },
			want: []errs.Issue{{Code: "invalid_type", Message: "Invalid input: expected object, received undefined", Path: []string{}}},
		},
		"not an object": {
			body: " [1]",
			read: func(r *input.Reader) { r.Object("a", true) },
			want: []errs.Issue{{Code: "invalid_type", Message: "Invalid input: expected object, received array", Path: []string{}}},
		},
		"missing and wrong types": {
			body: `{"b":1,"c":"x","d":null}`,
			read: func(r *input.Reader) {
				r.String("a", input.Text{Required: true})
				r.String("b", input.Text{})
				r.Bool("c", false)
				r.String("d", input.Text{Nullable: true})
			},
			want: []errs.Issue{
				{Code: "invalid_type", Message: "Invalid input: expected string, received undefined", Path: []string{"a"}},
				{Code: "invalid_type", Message: "Invalid input: expected string, received number", Path: []string{"b"}},
				{Code: "invalid_type", Message: "Invalid input: expected boolean, received string", Path: []string{"c"}},
			},
		},
		"lengths, patterns, numbers": {
			body: `{"short":"","long":"äöü","name":"a b","n":11,"mail":"x@y"}`,
			read: func(r *input.Reader) {
				r.String("short", input.Text{Min: 1})
				r.String("long", input.Text{Max: 2})
				r.String("name", input.Name)
				r.Int("n", 0, 1, 10)
				r.String("mail", input.Text{Email: true})
			},
			want: []errs.Issue{
				{Code: "too_small", Message: "Too small: expected string to have >=1 characters", Path: []string{"short"}},
				{Code: "too_big", Message: "Too big: expected string to have <=2 characters", Path: []string{"long"}},
				{Code: "invalid_format", Message: "Invalid string: must match pattern /^[a-zA-Z0-9_-]+$/", Path: []string{"name"}},
				{Code: "too_big", Message: "Too big: expected number to be <=10", Path: []string{"n"}},
				{Code: "invalid_format", Message: "Invalid email address", Path: []string{"mail"}},
			},
		},
		"inside lists and objects": {
			body: `{"syncs":["a",{"name":"b","x":1},3],"user":{"id":1}}`,
			read: func(r *input.Reader) {
				r.Each("syncs", true, 0, func(_ int, item *input.Reader, _ string) {
					if item != nil {
						item.String("name", input.Name)
						item.String("variant", input.Name)
						item.Strict()
					}
				})
				r.Object("user", true).String("id", input.Text{Required: true})
			},
			want: []errs.Issue{
				{Code: "invalid_type", Message: "Invalid input: expected string, received undefined", Path: []string{"syncs", "1", "variant"}},
				{Code: "unrecognized_keys", Message: `Unrecognized key: "x"`, Path: []string{"syncs", "1"}},
				{Code: "invalid_union", Message: "Invalid input", Path: []string{"syncs", "2"}},
				{Code: "invalid_type", Message: "Invalid input: expected string, received number", Path: []string{"user", "id"}},
			},
		},
		"unknown keys": {
			body: `{"a":"1","z":1,"y":2}`,
			read: func(r *input.Reader) { r.String("a", input.Text{}); r.Strict() },
			want: []errs.Issue{{Code: "unrecognized_keys", Message: `Unrecognized keys: "y", "z"`, Path: []string{}}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := input.Body([]byte(test.body))
			test.read(r)
			if diff := cmp.Diff(test.want, issues(t, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAGoodBodyIsHandedOverAsItWasWritten(t *testing.T) {
	t.Parallel()
	r := input.Body([]byte(`{"metadata": {"b":1,  "a":12345678901234567890}, "ids":["x","y"], "on":true, "tags":{"k":"v"}, "one":"z"}`))
	if got := string(r.JSONObject("metadata", true)); got != `{"b":1,  "a":12345678901234567890}` {
		t.Errorf("metadata = %s", got)
	}
	if diff := cmp.Diff([]string{"x", "y"}, r.Strings("ids", input.Text{}, 2)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"z"}, r.Strings("one", input.Text{}, 0)); diff != "" {
		t.Error(diff)
	}
	if !r.Bool("on", false) || r.StringMap("tags", input.Text{})["k"] != "v" || r.Has("nothing") {
		t.Error("a value is lost")
	}
	if found := issues(t, r.Strict()); found != nil {
		t.Errorf("issues %v", found)
	}
}

func TestQueriesUnderstandBracketsRepetitionAndFlags(t *testing.T) {
	t.Parallel()
	query, err := url.ParseQuery("tags[a]=1&tags%5Bb%5D=2&ids=x&ids=y&list[]=only&force=YES&off=0&bad=maybe&n=7&n2=x")
	if err != nil {
		t.Fatal(err)
	}
	r := input.Query(query)
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, r.StringMap("tags", input.Text{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x", "y"}, r.Strings("ids", input.Text{}, 0)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"only"}, r.Strings("list", input.Text{}, 0)); diff != "" {
		t.Error(diff)
	}
	if !r.Flag("force", false) || r.Flag("off", true) || !r.Flag("absent", true) || r.Int("n", 0, 0, 10) != 7 {
		t.Error("a flag or number is misread")
	}
	if issues(t, r) != nil {
		t.Errorf("issues %v", issues(t, r))
	}
	r.Flag("bad", false)
	r.Int("n2", 0, 0, 1)
	if got := issues(t, r); len(got) != 2 || got[0].Code != "invalid_value" || got[1].Message != "Invalid input: expected number, received NaN" {
		t.Errorf("issues %v", got)
	}
}

func TestAnEmptyHeaderCountsAsAbsent(t *testing.T) {
	t.Parallel()
	r := input.Headers(http.Header{"Connection-Id": {""}, "Provider-Config-Key": {"k"}}, "Connection-Id", "Provider-Config-Key")
	if r.String("provider-config-key", input.IntegrationKey) != "k" {
		t.Error("a header is lost")
	}
	r.String("connection-id", input.ConnectionID)
	if got := issues(t, r); len(got) != 1 || got[0].Path[0] != "connection-id" {
		t.Errorf("issues %v", got)
	}
}

// FuzzBody: whatever the JSON, reading never panics, and findings are the answer to bad input only.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{}`, `{"s":"x","n":1,"b":true,"l":[{"a":1},"x"],"o":{"s":null}}`, `[]`, `null`, `"x"`, ``, `{"s":{"s":[]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 0 && !json.Valid(body) {
			return
		}
		r := input.Body(body)
		r.String("s", input.Name)
		r.Int("n", 0, 0, 10)
		r.Bool("b", false)
		r.Flag("f", false)
		r.Strings("l", input.Text{}, 10)
		r.StringMap("o", input.Text{})
		r.OneOf("e", "a", "b")
		r.JSON("j")
		r.JSONObject("o", true)
		r.Each("l", false, 10, func(_ int, item *input.Reader, _ string) {
			if item != nil {
				item.String("a", input.Text{})
				item.Strict()
			}
		})
		if inner := r.Object("o", false); inner != nil {
			inner.String("s", input.Text{})
			inner.Strict()
		}
		if err := r.Strict().Err("invalid_body"); err == nil && len(body) == 0 {
			t.Error("an absent body passes")
		}
	})
}
