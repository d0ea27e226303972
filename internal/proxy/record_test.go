package proxy_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

func TestACallIsOneOperationWithAMessagePerAttempt(t *testing.T) {
	t.Parallel()
	var got seen
	w := newWorld(t, provider.None, plainRules, nil, script(&got, "503 body: {\"why\":\"busy\"}", "404 body: gone"))
	call := w.call("POST", "/v1/x?y=1")
	call.Retries = 2
	call.Inbound = &oplog.HTTPRequest{URL: "http://patchbay.test/proxy/v1/x?y=1", Method: "POST", Headers: map[string]string{"user-agent": "app"}}
	begun := ""
	call.Begun = func(id string) { begun = id }
	w.do(call)
	op, _ := w.log.operation()
	if op.ID != begun || op.Kind != oplog.ProxyCall || op.State != "failed" || op.Error == nil || op.EndedAt == nil {
		t.Errorf("operation %+v, told %q", op, begun)
	}
	if op.EnvironmentID != 3 || op.AccountID != 1 || op.ProviderName != "acme" || op.IntegrationID != 7 || op.IntegrationName != "acme" || op.ConnectionID != 11 || op.ConnectionName != "c1" {
		t.Errorf("the operation is about %+v", op)
	}
	if op.Request == nil || op.Request.URL != call.Inbound.URL || op.Response == nil || op.Response.Code != 404 {
		t.Errorf("request %+v, response %+v", op.Request, op.Response)
	}
	messages := w.log.http()
	if len(messages) != 2 {
		t.Fatalf("%d messages, want 2", len(messages))
	}
	first, second := messages[0], messages[1]
	if first.Response.Code != 503 || first.Response.Body != `{"why":"busy"}` || first.Level != oplog.Error || first.Request.URL != w.upstream.URL+"/api/v1/x?y=1" || first.Context != "proxy" {
		t.Errorf("first attempt %+v %+v", first, first.Response)
	}
	if diff := cmp.Diff([]*oplog.Retry{{Attempt: 0, Max: 2}, {Attempt: 1, Max: 2, WaitedMs: 3000}}, []*oplog.Retry{first.Retry, second.Retry}); diff != "" {
		t.Errorf("attempts (-want +got)\n%s", diff)
	}
	if second.Response.Body != "gone" {
		t.Errorf("the body of the error is %q", second.Response.Body)
	}
}

func TestABodyOfASuccessIsNotLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(res, "private data") })
	call := withBody(w.call("POST", "/"), "private question")
	call.ContentType = "text/plain"
	w.do(call)
	if op, _ := w.log.operation(); op.State != "success" || strings.Contains(w.log.text.String(), "private") {
		t.Errorf("%s: %s", op.State, w.log.text.String())
	}
}

func TestARunningOperationGetsTheMessagesAndGoesOn(t *testing.T) {
	t.Parallel()
	var got seen
	w := newWorld(t, provider.None, plainRules, nil, record(&got))
	op := oplog.New(oplog.Options{Writer: w.log}).Begin(t.Context(), oplog.Record{Kind: oplog.SyncRun, EnvironmentID: 3})
	call := w.call("GET", "/")
	call.Operation = op
	call.Begun = func(string) { t.Error("an operation of its own was begun") }
	w.do(call)
	op.Flush(t.Context())
	if r, _ := w.log.operation(); r.ID != op.ID() || r.State != oplog.Running || len(w.log.http()) != 1 {
		t.Errorf("operation %+v with %d messages", r, len(w.log.http()))
	}
}

// TestNoCredentialIsInTheLog: the third party throws everything it got back in the headers and the body of an error.
func TestNoCredentialIsInTheLog(t *testing.T) {
	t.Parallel()
	const value = "s3cr+t/Value=="
	echo := func(res http.ResponseWriter, r *http.Request) {
		res.Header().Set("X-Echo", r.Header.Get("Authorization")+" "+r.Header.Get("X-Custom"))
		res.Header().Set("Location", r.RequestURI)
		res.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(res, r.RequestURI+" "+r.Header.Get("Authorization")+" "+r.Header.Get("X-Custom"))
	}
	for _, c := range []struct {
		mode   provider.AuthMode
		fields map[string]any
		rules  string
	}{
		{provider.OAuth2, map[string]any{"access_token": value, "refresh_token": value + "r"}, plainRules + "  query: {t: '${accessToken}'}\n"},
		{provider.Basic, map[string]any{"username": "user@example.com", "password": value}, plainRules + "  headers: {x-custom: '${password}'}\n"},
		{provider.APIKey, map[string]any{"apiKey": value}, plainRules + "  headers: {x-custom: 'Key ${apiKey}'}\n  query: {key: '${apiKey}'}\n"},
		{provider.APIKey, map[string]any{"apiKey": value}, "proxy: {base_url: '${connectionConfig.baseUrl}/bot${apiKey}'}\n"},
	} {
		w := newWorld(t, c.mode, c.rules, c.fields, echo)
		res := w.do(w.call("GET", "/x?a=1"))
		if !strings.Contains(res.body, value) && !strings.Contains(res.body, url.QueryEscape(value)) && !strings.Contains(res.body, base64.StdEncoding.EncodeToString([]byte("user@example.com:"+value))) {
			t.Fatalf("%s: the third party did not get the credential: %s", c.mode, res.body)
		}
		logged := w.log.text.String() + res.URL()
		for _, spelling := range []string{value, url.QueryEscape(value), url.PathEscape(value), base64.StdEncoding.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte("user@example.com:" + value)), "client-secret-1"} {
			if strings.Contains(logged, spelling) {
				t.Errorf("%s: %q is in the log", c.mode, spelling)
			}
		}
	}
}
