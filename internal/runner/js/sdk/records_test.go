package sdk_test

import (
	"testing"
)

func TestBatchesAreSentInChunksOfAThousand(t *testing.T) {
	t.Parallel()
	for method, op := range map[string]string{
		"batchSave": "records.save", "batchSend": "records.save", "batchUpdate": "records.update", "batchDelete": "records.delete",
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			res := syncRun(t, host{op: done}, lines(
				"const records = Array.from({length: 2001}, (_, i) => ({id: String(i)}));",
				"if ((await nango."+method+"(records, 'Issue')) !== true) throw new Error('not true');",
			))
			wantOutput(t, res, `true`)
			var sizes []int
			for i, r := range res.of(op) {
				records := r["records"].([]any)
				sizes = append(sizes, len(records))
				if first := records[0].(map[string]any)["id"]; first != []string{"0", "1000", "2000"}[i] {
					t.Errorf("chunk %d starts at %v", i, first)
				}
				if r["model"] != "Issue" {
					t.Errorf("model %v", r["model"])
				}
			}
			wantEqual(t, sizes, `[1000,1000,1]`)
		})
	}
}

func TestBigRecordsGoInSmallerRequests(t *testing.T) {
	t.Parallel()
	res := syncRun(t, host{"records.save": done}, lines(
		"const record = (id, size) => ({id, text: 'x'.repeat(size)});",
		"await nango.batchSave([record('1', 3e6), record('2', 3e6), record('3', 3e6), record('4', 9e6), record('5', 1)], 'M');",
	))
	wantOutput(t, res, `true`)
	var ids [][]any
	for _, r := range res.of("records.save") {
		var chunk []any
		for _, record := range r["records"].([]any) {
			chunk = append(chunk, record.(map[string]any)["id"])
		}
		ids = append(ids, chunk)
	}
	wantEqual(t, ids, `[["1","2"],["3"],["4"],["5"]]`)
}

func TestNothingToSaveIsNoCall(t *testing.T) {
	t.Parallel()
	res := syncRun(t, nil, lines(
		"for (const none of [[], undefined, null])",
		"  for (const m of ['batchSave', 'batchUpdate', 'batchDelete'])",
		"    if ((await nango[m](none, 'M')) !== true) throw new Error(m);",
	))
	wantOutput(t, res, `true`)
}

func TestRecordsReadFromTheCacheCanBeSavedAgain(t *testing.T) {
	t.Parallel()
	res := syncRun(t, host{"records.save": done}, lines(
		"const record = {id: '1', a: 1, _nango_metadata: {cursor: 'x'}};",
		"await nango.batchSave([record, {id: '2'}], 'M');",
		"if (!record._nango_metadata) throw new Error('the caller still needs it');",
	))
	wantOutput(t, res, `true`)
	wantEqual(t, res.of("records.save")[0]["records"], `[{"id":"1","a":1},{"id":"2"}]`)
}

func TestAFailedBatchThrowsAPlainError(t *testing.T) {
	t.Parallel()
	for method, message := range map[string]string{
		"batchSave":   "Failed to save records: model X is not declared",
		"batchUpdate": "Failed to update records: model X is not declared",
		"batchDelete": "Failed to delete records: model X is not declared",
	} {
		no := always(refusal{"code": "unknown_model", "message": "model X is not declared"})
		h := host{"records.save": no, "records.update": no, "records.delete": no}
		res := syncRun(t, h, "await nango."+method+"([{id: 1}], 'X')")
		wantFailure(t, res, "script_internal_error", mustJSON(t, map[string]string{"name": "Error", "code": "unknown_model", "message": message}))
	}
	res := syncRun(t, host{}, "await nango.batchSave({id: 1, length: 1}, 'X')")
	wantFailure(t, res, "script_internal_error", `{"name":"TypeError","message":"save X: records must be an array"}`)
}

func TestACancelledBatchKeepsItsCode(t *testing.T) {
	t.Parallel()
	h := host{"records.save": always(refusal{"code": "script_aborted"})}
	wantFailure(t, syncRun(t, h, "await nango.batchSave([{id: 1}], 'M')"), "script_aborted", `{}`)
}

func TestRecordsAreFoundByTheIdsGiven(t *testing.T) {
	t.Parallel()
	h := host{"records.get": func(request map[string]any) any {
		records := []any{}
		for _, id := range request["ids"].([]any) {
			if id != "7" {
				records = append(records, map[string]any{"id": id})
			}
		}
		return map[string]any{"records": records}
	}}
	res := syncRun(t, h, lines(
		"const ids = Array.from({length: 150}, (_, i) => (i % 2 ? i : String(i)));",
		"const found = await nango.getRecordsByIds(ids, 'M');",
		"await nango.log('x', {size: found.size, number: found.get(9).id, text: found.get('8').id, missing: found.has(7), other: found.has('9')});",
	))
	wantOutput(t, res, `true`)
	wantEqual(t, res.of("log")[0]["meta"], `{"size":149,"number":"9","text":"8","missing":false,"other":false}`)
	asked := res.of("records.get")
	if len(asked) != 2 || len(asked[0]["ids"].([]any)) != 100 || len(asked[1]["ids"].([]any)) != 50 {
		t.Errorf("asked %v", asked)
	}
}

func TestRecordsAreListedToTheEnd(t *testing.T) {
	t.Parallel()
	h := host{"records.list": replies(
		map[string]any{"records": []any{map[string]any{"id": "1"}, map[string]any{"id": "2"}}, "nextCursor": "c1"},
		map[string]any{"records": []any{}, "nextCursor": "c2"},
		map[string]any{"records": []any{map[string]any{"id": "3"}}, "nextCursor": nil},
	)}
	res := syncRun(t, h, "const ids = []; for await (const r of nango.listRecords('M', {cursor: 'c0'})) ids.push(r.id); await nango.log(ids.join());")
	wantOutput(t, res, `true`)
	if got := res.of("log")[0]["message"]; got != "1,2,3" {
		t.Errorf("listed %v", got)
	}
	wantEqual(t, res.of("records.list"), `[{"model":"M","cursor":"c0","limit":100},{"model":"M","cursor":"c1","limit":100},{"model":"M","cursor":"c2","limit":100}]`)
}

func TestDeleteTracking(t *testing.T) {
	t.Parallel()
	gone := always(map[string]any{"deletedKeys": []string{"1", "2"}})
	h := host{"trackDeletes.start": done, "trackDeletes.end": gone, "records.deletePrevious": gone}
	res := syncRun(t, h, lines(
		"const started = await nango.trackDeletesStart('M');",
		"await nango.log('x', {started: started === undefined, end: await nango.trackDeletesEnd('M'), old: await nango.deleteRecordsFromPreviousExecutions('M')});",
	))
	wantOutput(t, res, `true`)
	wantEqual(t, res.of("log")[0]["meta"], `{"started":true,"end":{"deletedKeys":["1","2"]},"old":{"deletedKeys":["1","2"]}}`)

	no := host{"trackDeletes.end": always(refusal{"code": "track_deletes_not_started", "message": "no window is open for M"})}
	wantFailure(t, syncRun(t, no, "await nango.trackDeletesEnd('M')"), "script_internal_error",
		`{"name":"Error","code":"track_deletes_not_started","message":"no window is open for M"}`)
}

func TestMergingStrategyIsSetOnceBeforeTheFirstBatch(t *testing.T) {
	t.Parallel()
	h := host{"merging.set": done, "records.save": done}
	res := syncRun(t, h, lines(
		"await nango.setMergingStrategy({strategy: 'ignore_if_modified_after'}, 'A');",
		"await nango.setMergingStrategy({strategy: 'override'}, 'A');",
		"await nango.batchSave([{id: 1}], 'B');",
		"await nango.setMergingStrategy({strategy: 'override'}, 'B');",
	))
	wantOutput(t, res, `true`)
	wantEqual(t, res.of("merging.set"), `[{"model":"A","strategy":"ignore_if_modified_after"}]`)
	var levels []any
	for _, line := range res.of("log") {
		levels = append(levels, line["level"])
	}
	wantEqual(t, levels, `["info","warn","warn"]`)
}
