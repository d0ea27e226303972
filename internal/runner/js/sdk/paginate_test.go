package sdk_test

import (
	"testing"
)

// paged runs a pagination to its end and returns [pages, on_page calls], with the requests in the result's calls.
// config is the JavaScript object given to paginate; `tell` is an on_page callback that records.
func paged(t *testing.T, config string, more map[string]any, pages ...any) result {
	t.Helper()
	return action(t, host{"http": replies(pages...)}, lines(
		"const pages = [], told = [];",
		"const tell = async ({nextPageParam, response}) => { told.push([nextPageParam ?? null, response.status]); };",
		"for await (const page of nango.paginate("+config+")) pages.push(page ?? null);",
		"return [pages, told];",
	), more)
}

// wantRequests checks the named fields of each request, given as JSON lists.
func wantRequests(t *testing.T, res result, field string, want ...string) {
	t.Helper()
	got := res.of("http")
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d", len(got), len(want))
	}
	for i, w := range want {
		wantEqual(t, got[i][field], w)
	}
}

func linked(body, link string) map[string]any {
	p := page(body)
	p["headers"].(map[string]any)["link"] = link
	return p
}

func TestCursorPagination(t *testing.T) {
	t.Parallel()
	const cursor = `{type: 'cursor', cursor_name_in_request: 'after', cursor_path_in_response: 'meta.next', response_path: 'items'`
	tests := []struct {
		name, config string
		pages        []any
		want         string
		params       []string
	}{
		{
			"follows text and number cursors until there is none",
			`{endpoint: '/x', params: {q: 1}, paginate: ` + cursor + `, limit: 2, limit_name_in_request: 'per', on_page: tell}}`,
			[]any{page(`{"items":[1,2],"meta":{"next":" c1 "}}`), page(`{"items":[3],"meta":{"next":0}}`), page(`{"items":[4],"meta":{"next":null}}`)},
			`[[[1,2],[3],[4]], [["c1",200],[0,200],[null,200]]]`,
			[]string{`[["q","1"],["per","2"]]`, `[["q","1"],["per","2"],["after","c1"]]`, `[["q","1"],["per","2"],["after","0"]]`},
		},
		{
			"an empty page ends it and is not yielded",
			`{endpoint: '/x', paginate: ` + cursor + `, on_page: tell}}`,
			[]any{page(`{"items":[1],"meta":{"next":"c"}}`), page(`{"items":[],"meta":{"next":"d"}}`)},
			`[[[1]], [["c",200]]]`,
			[]string{`[]`, `[["after","c"]]`},
		},
		{
			"an object is not a page",
			`{endpoint: '/x', paginate: {type: 'cursor', cursor_name_in_request: 'a', cursor_path_in_response: 'n', on_page: tell}}`,
			[]any{page(`{"n":"c"}`)},
			`[[], []]`,
			[]string{`[]`},
		},
		{
			"a blank cursor is none",
			`{endpoint: '/x', paginate: ` + cursor + `}}`,
			[]any{page(`{"items":[1],"meta":{"next":"  "}}`)},
			`[[[1]], []]`,
			[]string{`[]`},
		},
		{
			"a cursor that is an object is none",
			`{endpoint: '/x', paginate: ` + cursor + `}}`,
			[]any{page(`{"items":[1],"meta":{"next":{"a":1}}}`)},
			`[[[1]], []]`,
			[]string{`[]`},
		},
		{
			"a non-empty text counts as a page",
			`{endpoint: '/x', paginate: {type: 'cursor', cursor_name_in_request: 'a', cursor_path_in_response: 'n'}}`,
			[]any{page("plain")},
			`[["plain"], []]`,
			[]string{`[]`},
		},
		{
			"a key that holds dots is found before a path",
			`{endpoint: '/x', paginate: {type: 'cursor', cursor_name_in_request: 'a', cursor_path_in_response: '@odata.next', response_path: 'd["v.w"][0]'}}`,
			[]any{page(`{"d":{"v.w":[[1]]},"@odata.next":"c"}`), page(`{}`)},
			`[[[1]], []]`,
			[]string{`[]`, `[["a","c"]]`},
		},
		{
			"the type is read in any case",
			`{endpoint: '/x', params: 'q=a+b&z=1', paginate: {type: 'Cursor', cursor_name_in_request: 'a', cursor_path_in_response: 'n'}}`,
			[]any{page(`[1]`)},
			`[[[1]], []]`,
			[]string{`[["q","a b"],["z","1"]]`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := paged(t, tt.config, nil, tt.pages...)
			wantOutput(t, res, tt.want)
			wantRequests(t, res, "params", tt.params...)
		})
	}
}

func TestLinkPagination(t *testing.T) {
	t.Parallel()
	t.Run("follows the header, drops the query, and yields empty pages", func(t *testing.T) {
		t.Parallel()
		res := paged(t, `{endpoint: '/x', params: {q: 1}, paginate: {type: 'link', link_rel_in_response_header: 'next', limit: 5, limit_name_in_request: 'per', on_page: tell}}`, nil,
			linked(`[1]`, `<https://api.example.com/first?a=1,2>; rel="first", <https://api.example.com/x?page=2>; title="a, b"; rel="prev next"`),
			linked(`[]`, `</x?page=3>; rel=next`),
			linked(`[3]`, `<https://api.example.com/x?page=1>; rel="prev"`),
		)
		wantOutput(t, res, `[[[1],[],[3]], [["https://api.example.com/x?page=2",200],["/x?page=3",200],[null,200]]]`)
		wantRequests(t, res, "endpoint", `"/x"`, `"/x?page=2"`, `"/x?page=3"`)
		wantRequests(t, res, "baseUrlOverride", `null`, `"https://api.example.com"`, `"https://api.example.com"`)
		wantRequests(t, res, "params", `[["q","1"],["per","5"]]`, `null`, `null`)
	})
	t.Run("falls back to the body and stops at a link it has just followed", func(t *testing.T) {
		t.Parallel()
		const config = `{endpoint: '/x', paginate: {type: 'link', link_rel_in_response_header: 'next', link_path_in_response_body: 'links.next', response_path: 'v'}}`
		res := paged(t, config, nil, page(`{"v":[1],"links":{"next":"/x?2"}}`), page(`{"links":{"next":"/x?2"}}`))
		wantOutput(t, res, `[[[1],null], []]`)
		wantRequests(t, res, "endpoint", `"/x"`, `"/x?2"`)
	})
	t.Run("a link that is not a text is none", func(t *testing.T) {
		t.Parallel()
		res := paged(t, `{endpoint: '/x', paginate: {type: 'link', link_path_in_response_body: 'next'}}`, nil, page(`{"next":{"href":"/y"}}`))
		wantOutput(t, res, `[[{"next":{"href":"/y"}}], []]`)
	})
	t.Run("a body stays with every request", func(t *testing.T) {
		t.Parallel()
		res := paged(t, `{endpoint: '/x', method: 'POST', data: {q: 1}, paginate: {type: 'link', link_path_in_response_body: 'next', limit: 2, limit_name_in_request: 'page.size'}}`, nil,
			page(`{"next":"/y"}`), page(`{}`))
		wantOutput(t, res, `[[{"next":"/y"},{}], []]`)
		wantRequests(t, res, "data", `"{\"q\":1,\"page\":{\"size\":2}}"`, `"{\"q\":1,\"page\":{\"size\":2}}"`)
		wantRequests(t, res, "params", `null`, `null`)
	})
}

func TestOffsetPagination(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, config string
		pages        []any
		want         string
		field        string
		sent         []string
	}{
		{
			"adds the size of each page, ends at a short one without telling",
			`{endpoint: '/x', paginate: {type: 'offset', offset_name_in_request: 'skip', limit: '2', limit_name_in_request: 'per', on_page: tell}}`,
			[]any{page(`[1,2]`), page(`[3,4]`), page(`[5]`)},
			`[[[1,2],[3,4],[5]], [[0,200],[2,200]]]`,
			"params", []string{`[["per","2"],["skip","0"]]`, `[["per","2"],["skip","2"]]`, `[["per","2"],["skip","4"]]`},
		},
		{
			"counts pages when told to, from where it is told to",
			`{endpoint: '/x', paginate: {type: 'offset', offset_name_in_request: 'page', offset_start_value: 1, offset_calculation_method: 'per-page'}}`,
			[]any{page(`[1,2]`), page(`[3]`), page(`[]`)},
			`[[[1,2],[3]], []]`,
			"params", []string{`[["page","1"]]`, `[["page","2"]]`, `[["page","3"]]`},
		},
		{
			"the body gets numbers, dotted names reach inside",
			`{endpoint: '/x', method: 'post', data: {q: {a: 1}}, paginate: {type: 'offset', offset_name_in_request: 'page.from', limit: 1, limit_name_in_request: 'page.size'}}`,
			[]any{page(`[1]`), page(`{"length":0}`)},
			`[[[1]], []]`,
			"data", []string{`"{\"q\":{\"a\":1},\"page\":{\"size\":1,\"from\":0}}"`, `"{\"q\":{\"a\":1},\"page\":{\"size\":1,\"from\":1}}"`},
		},
		{
			"POST pages in the query when told to",
			`{endpoint: '/x', method: 'POST', data: 'raw', paginate: {type: 'offset', offset_name_in_request: 'o', in_body: false}}`,
			[]any{page(`[]`)},
			`[[], []]`,
			"params", []string{`[["o","0"]]`},
		},
		{
			"a limit without a name is not sent",
			`{endpoint: '/x', paginate: {type: 'offset', offset_name_in_request: 'o', limit: 2}}`,
			[]any{page(`[1]`)},
			`[[[1]], []]`,
			"params", []string{`[["o","0"]]`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := paged(t, tt.config, nil, tt.pages...)
			wantOutput(t, res, tt.want)
			wantRequests(t, res, tt.field, tt.sent...)
		})
	}
}

func TestProviderPaginationIsOverlaidByTheCall(t *testing.T) {
	t.Parallel()
	ctx := map[string]any{"providerPaginate": map[string]any{
		"type": "cursor", "cursor_name_in_request": "after", "cursor_path_in_response": "next", "limit_name_in_request": "per",
		"response_path": "items", "in_body": true,
	}}
	res := paged(t, `{endpoint: '/x', paginate: {limit: 9, response_path: 'rows'}}`, ctx, page(`{"rows":[1],"items":[2],"next":"c"}`), page(`{}`))
	wantOutput(t, res, `[[[1]], []]`)
	wantRequests(t, res, "params", `[["per","9"]]`, `[["per","9"],["after","c"]]`)
	wantRequests(t, res, "data", `null`, `null`)
}

func TestPaginationWritesBackOnlyMethodAndItsObject(t *testing.T) {
	t.Parallel()
	h := host{"http": replies(page(`{"v":[1],"next":"https://b.example/y"}`), page(`{"v":[2]}`))}
	res := action(t, h, lines(
		"const params = {q: 1};",
		"const config = {endpoint: '/x', params, paginate: {type: 'link', link_path_in_response_body: 'next', response_path: 'v', limit: 3, limit_name_in_request: 'per'}};",
		"for await (const page of nango.paginate(config));",
		"return [config.method, config.endpoint, config.baseUrlOverride ?? null, config.params === params, params];",
	))
	wantOutput(t, res, `["GET", "/x", null, true, {"q": 1, "per": 3}]`)
}

func TestPaginationEndsWithTheLoopThatReadsIt(t *testing.T) {
	t.Parallel()
	h := host{"http": replies(page(`[1]`))}
	res := action(t, h, "for await (const p of nango.paginate({endpoint: '/x', paginate: {type: 'offset', offset_name_in_request: 'o'}})) break; return 'done';")
	wantOutput(t, res, `"done"`)
}

func TestPaginationThatCanNotWorkThrowsBeforeAnyCall(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, config string
		context      map[string]any
		want         string
	}{
		{"no type anywhere", `{endpoint: '/x'}`, nil, `paginate: no pagination type: the provider has no pagination template, give paginate.type`},
		{"unknown type", `{endpoint: '/x', paginate: {type: 'page'}}`, nil, `Pagination type page is not supported`},
		{"cursor without its name", `{endpoint: '/x', paginate: {type: 'cursor', cursor_path_in_response: 'a'}}`, nil, `paginate: cursor_name_in_request is required for cursor pagination`},
		{"cursor without its path", `{endpoint: '/x', paginate: {type: 'cursor', cursor_name_in_request: 'a'}}`, nil, `paginate: cursor_path_in_response is required for cursor pagination`},
		{"cursor with a nameless limit", `{endpoint: '/x', paginate: {type: 'cursor', cursor_name_in_request: 'a', cursor_path_in_response: 'a', limit: 1}}`, nil, `paginate: limit_name_in_request is required when limit is set`},
		{"link without a source", `{endpoint: '/x', paginate: {type: 'link'}}`, nil, `paginate: link_rel_in_response_header or link_path_in_response_body is required for link pagination`},
		{"offset without its name", `{endpoint: '/x', paginate: {type: 'offset'}}`, nil, `paginate: offset_name_in_request is required for offset pagination`},
		{"text body", `{endpoint: '/x', method: 'POST', data: 'a', paginate: {type: 'offset', offset_name_in_request: 'o'}}`, nil, `paginate: data must be an object when the paging parameters go into the body`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := paged(t, tt.config, tt.context)
			wantFailure(t, res, "script_internal_error", mustJSON(t, map[string]string{"name": "Error", "message": tt.want}))
		})
	}
}

func TestPaginationOfAnUnknownProvider(t *testing.T) {
	t.Parallel()
	res := paged(t, `{endpoint: '/x', paginate: {type: 'offset', offset_name_in_request: 'o'}}`, map[string]any{"providerKnown": false})
	wantFailure(t, res, "unknown_provider_template_in_config", `{}`)
}

func TestAFailedPageEndsTheLoopWithItsError(t *testing.T) {
	t.Parallel()
	res := paged(t, `{endpoint: '/x', paginate: {type: 'offset', offset_name_in_request: 'o'}}`, nil, page(`[1]`), map[string]any{"status": 500, "body": `{"m":"x"}`})
	wantFailure(t, res, "script_http_error", `{"m":"x"}`)
}
