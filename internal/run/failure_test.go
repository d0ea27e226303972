package run_test

import (
	"encoding/json"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/run"
)

func TestAFailureHasTheEnvelopeOfItsType(t *testing.T) {
	t.Parallel()
	upstream := json.RawMessage(`{"status":429,"headers":{},"body":{"a":"<b>"}}`)
	for _, test := range []struct {
		failure run.Failure
		status  int
		body    string
	}{
		{
			run.Failure{Type: "script_api_rate_limit_error", Payload: json.RawMessage(`{"a":"<b>"}`), Upstream: upstream}, 424,
			`{"error":{"message":"The function called the platform more often than it may","code":"script_api_rate_limit_error","payload":{"a":"<b>"},` +
				`"additional_properties":{"upstream_response":{"status":429,"headers":{},"body":{"a":"<b>"}}}}}`,
		},
		{
			run.Failure{Type: "script_http_error", Payload: json.RawMessage(`{}`), Upstream: upstream}, 424,
			`{"error":{"payload":{},"code":"script_http_error","upstream":{"status":429,"headers":{},"body":{"a":"<b>"}}}}`,
		},
		{run.Failure{Type: "script_aborted"}, 410, `{"error":{"message":"The function was aborted","code":"script_aborted","payload":{}}}`},
		{
			run.Failure{Type: "something_new", Payload: json.RawMessage(`{"x":1}`)}, 500,
			`{"error":{"message":"The function failed: {\"x\":1}","code":"unhandled_something_new","payload":{"x":1}}}`,
		},
		{
			run.Failure{Type: "action_script_failure", Payload: json.RawMessage(`{"error":"why"}`)}, 500,
			`{"error":{"message":"The action could not be run: {\"error\":\"why\"}","code":"action_script_failure","payload":{"error":"why"}}}`,
		},
	} {
		if got := string(test.failure.Body()); got != test.body || test.failure.Status() != test.status {
			t.Errorf("%s: %d %s, want %d %s", test.failure.Type, test.failure.Status(), got, test.status, test.body)
		}
	}
}
