import assert from 'node:assert/strict';
import test from 'node:test';
import { acme, allRecords, api, client, compat, connect, demo, eventually, hasIssues, isRefused, nango, prod, receiver, refused, unique } from './support.js';

const things = (connectionId) => ({ providerConfigKey: compat, connectionId, model: 'Thing' });

/** Runs the sync with the metadata and waits for its end. Gives its status. */
async function run(connectionId, metadata, opts) {
    await nango.setMetadata(compat, connectionId, metadata);
    const before = (await status(connectionId)).finishedAt;
    await nango.triggerSync(compat, ['things'], connectionId, opts);
    return eventually('run', async () => {
        const now = await status(connectionId);
        return now.status !== 'RUNNING' && now.finishedAt && now.finishedAt !== before ? now : undefined;
    });
}

async function status(connectionId, sync = 'things') {
    const { syncs } = await nango.syncStatus(compat, [sync], connectionId);
    assert.equal(syncs.length, 1);
    return syncs[0];
}

async function demoRan() {
    return eventually('synced', async () => {
        const { syncs } = await nango.syncStatus(demo.integration, [demo.sync], demo.connection);
        return syncs[0]?.status === 'SUCCESS' && syncs[0].finishedAt ? syncs[0] : undefined;
    });
}

test('the demo sync loses no contact and invents none', async () => {
    await demoRan();
    await nango.triggerSync(demo.integration, [demo.sync], demo.connection, { reset: true });
    const before = Date.now();
    await eventually('run again', async () => new Date((await demoRan()).finishedAt) > before - 1000 || undefined);
    const token = await nango.getToken(demo.integration, demo.connection);
    const theirs = new Map();
    for (let cursor; cursor !== null; ) {
        const page = await acme(`/v1/contacts?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`, { headers: { authorization: `Bearer ${token}` } });
        for (const contact of page.data) {
            theirs.set(contact.id, contact);
        }
        cursor = page.next_cursor;
    }
    assert.ok(theirs.size >= 250);
    // Other files create contacts meanwhile: what existed before this run has to be there, once each.
    const ours = await allRecords({ providerConfigKey: demo.integration, connectionId: demo.connection, model: 'Contact', limit: 100 });
    const alive = ours.filter((record) => record._nango_metadata.deleted_at === null);
    assert.equal(new Set(ours.map((record) => record.id)).size, ours.length, 'no record twice');
    for (const record of alive.slice(0, 250)) {
        const contact = theirs.get(record.id);
        assert.ok(contact, `${record.id} does not exist there`);
        assert.equal(record.name, `${contact.first_name} ${contact.last_name}`.trim());
    }
    assert.ok(alive.length >= 250, `${alive.length} records`);
});

test('a sync that does not start by itself waits, runs when triggered, and tells what it did', async () => {
    const id = unique('waits');
    await connect(compat, id);
    const idle = await status(id);
    assert.equal(idle.status, 'PAUSED');
    assert.equal('finishedAt' in idle, false);
    assert.equal(idle.nextScheduledSyncAt, null);
    assert.equal(idle.frequency, 'every day');
    const done = await run(id, { save: 250 });
    assert.equal(done.status, 'PAUSED', 'a triggered run does not start the schedule');
    assert.equal(done.latestExecutionStatus, 'SUCCESS');
    assert.deepEqual(done.latestResult, { Thing: { added: 250, updated: 0, deleted: 0 } });
    assert.deepEqual(done.recordCount, { Thing: 250 });
    assert.equal(done.variant, 'base');
});

test('records are paged with cursors and come in the order of their change', async () => {
    const id = unique('pages');
    await connect(compat, id);
    await run(id, { save: 250 });
    const pages = [];
    let cursor = null;
    do {
        const page = await nango.listRecords({ ...things(id), limit: 100, ...(cursor ? { cursor } : {}) });
        pages.push(page.records);
        cursor = page.next_cursor;
    } while (cursor !== null);
    assert.deepEqual(pages.map((page) => page.length), [100, 100, 50]);
    const all = pages.flat();
    assert.equal(new Set(all.map((record) => record.id)).size, 250);
    assert.deepEqual(all.map((record) => record._nango_metadata.last_modified_at), all.map((record) => record._nango_metadata.last_modified_at).sort());
    assert.equal((await nango.listRecords(things(id))).records.length, 100, 'a page has 100 records unless asked');
    const { _nango_metadata: meta, ...payload } = all.find((record) => record.id === 't7');
    assert.deepEqual(payload, { id: 't7', name: 'thing 7', version: 1 });
    assert.deepEqual(
        { last_action: meta.last_action, deleted_at: meta.deleted_at, pruned_at: meta.pruned_at },
        { last_action: 'ADDED', deleted_at: null, pruned_at: null }
    );
    const rest = await nango.listRecords({ ...things(id), cursor: all.at(-1)._nango_metadata.cursor });
    assert.deepEqual(rest, { records: [], next_cursor: null }, 'the cursor of the last record has nothing behind it');
});

test('only what changed is shown by filter, modifiedAfter and cursor', async () => {
    const id = unique('changes');
    await connect(compat, id);
    await run(id, { save: 20 });
    const first = await allRecords(things(id));
    const bookmark = first.at(-1)._nango_metadata.cursor;

    const same = await run(id, { save: 20 });
    assert.deepEqual(same.latestResult, { Thing: { added: 0, updated: 0, deleted: 0 } });
    assert.deepEqual((await nango.listRecords({ ...things(id), cursor: bookmark })).records, [], 'what is saved again as it was is no change');

    const since = new Date().toISOString();
    const changed = await run(id, { save: 5, version: 2, remove: ['t10', 't11'] });
    assert.deepEqual(changed.latestResult, { Thing: { added: 0, updated: 5, deleted: 2 } });
    const ids = (records) => records.map((record) => record.id).sort();
    const updated = ['t0', 't1', 't2', 't3', 't4'];
    assert.deepEqual(ids((await nango.listRecords({ ...things(id), filter: 'updated' })).records), updated);
    assert.deepEqual(ids((await nango.listRecords({ ...things(id), filter: 'DELETED' })).records), ['t10', 't11']);
    assert.equal((await nango.listRecords({ ...things(id), filter: 'added' })).records.length, 13);
    assert.equal((await nango.listRecords({ ...things(id), filter: 'added,updated' })).records.length, 18);
    assert.deepEqual(ids((await nango.listRecords({ ...things(id), modifiedAfter: since })).records), ids([...updated.map((t) => ({ id: t })), { id: 't10' }, { id: 't11' }]));
    assert.deepEqual(ids((await nango.listRecords({ ...things(id), cursor: bookmark })).records), ids([...updated.map((t) => ({ id: t })), { id: 't10' }, { id: 't11' }]));
    const some = await nango.listRecords({ ...things(id), ids: ['t1', 't10', 'no-such'] });
    assert.deepEqual(ids(some.records), ['t1', 't10']);
    const deleted = some.records.find((record) => record.id === 't10')._nango_metadata;
    assert.equal(deleted.last_action, 'DELETED');
    assert.ok(deleted.deleted_at);
    assert.deepEqual((await status(id)).recordCount, { Thing: 18 });
});

test('pruneRecords empties what was read and keeps the ids', async () => {
    const id = unique('prune');
    await connect(compat, id);
    await run(id, { save: 10 });
    const all = await allRecords(things(id));
    const until = all[5]._nango_metadata.cursor;
    assert.deepEqual(await nango.pruneRecords({ ...things(id), untilCursor: until }), { count: 6, has_more: false });
    const after = await allRecords(things(id));
    assert.equal(after.length, 10);
    for (const record of after) {
        const pruned = all.slice(0, 6).some((one) => one.id === record.id);
        assert.equal(record._nango_metadata.pruned_at !== null, pruned, record.id);
        assert.equal('name' in record, !pruned, record.id);
    }
    await refused(nango.pruneRecords({ ...things('no-such'), untilCursor: until }), 400, 'unknown_connection');
});

test('a full run with an emptied cache starts over', async () => {
    const id = unique('reset');
    await connect(compat, id);
    await run(id, { save: 10 });
    const done = await run(id, { save: 4 }, { reset: true, emptyCache: true });
    assert.deepEqual(done.latestResult, { Thing: { added: 4, updated: 0, deleted: 0 } });
    assert.equal((await allRecords(things(id))).length, 4);
});

test('start, pause and frequency change the schedule', async () => {
    const id = unique('schedule');
    await connect(compat, id);
    await nango.startSync(compat, ['things'], id);
    const started = await eventually('started', async () => {
        const now = await status(id);
        return now.status === 'SUCCESS' && now.finishedAt ? now : undefined;
    });
    assert.ok(new Date(started.nextScheduledSyncAt) > new Date());
    assert.deepEqual(await nango.updateSyncConnectionFrequency(compat, 'things', id, 'every hour'), { frequency: '1h' });
    const hourly = await status(id);
    assert.equal(hourly.frequency, 'every hour');
    assert.ok(new Date(hourly.nextScheduledSyncAt) - Date.now() <= 3_600_000);
    assert.deepEqual(await nango.updateSyncConnectionFrequency(compat, 'things', id, '5 min'), { frequency: '5 min' });
    assert.deepEqual(await nango.updateSyncConnectionFrequency(compat, 'things', id, null), { frequency: 'every day' });
    await nango.pauseSync(compat, ['things'], id);
    assert.equal((await status(id)).status, 'PAUSED');
    assert.equal((await status(id)).nextScheduledSyncAt, null);
    for (const frequency of ['hour', 'every 1s', 'sometimes']) {
        await refused(nango.updateSyncConnectionFrequency(compat, 'things', id, frequency), 400, 'invalid_body');
    }
    await refused(nango.updateSyncConnectionFrequency(compat, 'no-such', id, '1h'), 400, 'unknown_sync');
    await refused(nango.updateSyncConnectionFrequency(compat, 'things', 'no-such', '1h'), 400, 'unknown_connection');
});

test('a sync that fails keeps what it saved, marks the connection and sends one webhook', async () => {
    const id = unique('broken');
    await connect(compat, id);
    const app = await receiver(1);
    await nango.patchConnection({ connectionId: id, provider_config_key: compat }, { webhook_url_override: app.url });
    await nango.triggerSync(compat, ['broken'], id);
    const done = await eventually('failed', async () => {
        const now = await status(id, 'broken');
        return now.finishedAt && now.status !== 'RUNNING' ? now : undefined;
    });
    assert.equal(done.latestExecutionStatus, 'STOPPED');
    assert.deepEqual((await nango.listRecords({ providerConfigKey: compat, connectionId: id, model: 'Broken' })).records.map((r) => r.id), ['kept']);
    const { connections } = await nango.listConnections({ connectionId: id });
    assert.deepEqual(connections[0].errors.map((e) => e.type), ['sync']);
    await eventually('told', () => app.of('sync').length > 0);
    const [hook] = app.of('sync');
    assert.equal(hook.body.success, false);
    assert.equal(hook.body.syncName, 'broken');
    assert.equal(typeof hook.body.error.description, 'string');
    assert.equal(hook.body.error.payload.message, 'half way');
    await app.close();
    assert.equal(app.of('sync').length, 1);
});

test('commands for what is not there are refused', async () => {
    const id = unique('commands');
    await connect(compat, id);
    for (const command of ['triggerSync', 'startSync', 'pauseSync']) {
        await refused(nango[command]('no-such', ['things'], id), 400, 'unknown_provider_config');
        const unknown = await refused(nango[command](compat, ['things'], 'no-such'), 404, 'unknown_connection');
        assert.deepEqual(unknown.payload, { connectionId: 'no-such', providerConfigKey: compat });
        await refused(nango[command](compat, ['no-such'], id), 400, 'no_syncs_found');
    }
    await refused(nango.triggerSync(undefined, ['things'], id), 400, 'missing_provider_config_key');
    isRefused(await api('POST', '/sync/trigger', { body: { syncs: [], provider_config_key: compat, opts: {}, full_resync: true } }), 400, 'invalid_body');
    isRefused(await api('POST', '/sync/trigger?a=1', { body: { syncs: [] } }), 400, 'invalid_query_params');
    isRefused(await api('GET', `/sync/status?syncs=*&provider_config_key=${compat}&connection_id=no-such`), 400, 'invalid_body');
    assert.deepEqual((await nango.syncStatus('no-such', '*')).syncs, []);
    assert.deepEqual((await nango.syncStatus(compat, ['no-such'], id)).syncs, []);
    assert.deepEqual((await nango.syncStatus(compat, '*', id)).syncs.map((sync) => sync.name).sort(), ['broken', 'things']);
});

test('queries for records that can not be are refused', async () => {
    const id = unique('queries');
    await connect(compat, id);
    const headers = { 'provider-config-key': compat, 'connection-id': id };
    for (const [query, path] of [
        ['', 'model'],
        ['model=thing', 'model'],
        ['model=Thing&limit=0', 'limit'],
        ['model=Thing&limit=10001', 'limit'],
        ['model=Thing&filter=changed', 'filter'],
        ['model=Thing&modified_after=yesterday', 'modified_after'],
        ['model=Thing&modified_after=2026-01-01T00:00:00%2B00:00', 'modified_after'],
        ['model=Thing&stray=1', '']
    ]) {
        hasIssues(isRefused(await api('GET', `/records?${query}`, { headers }), 400, 'invalid_query_params'), path);
    }
    hasIssues(isRefused(await api('GET', '/records?model=Thing'), 400, 'invalid_headers'), 'connection-id', 'provider-config-key');
    await refused(nango.listRecords(things('no-such')), 400, 'unknown_connection');
    assert.deepEqual(await nango.listRecords({ ...things(id), model: 'Nothing' }), { records: [], next_cursor: null });
    for (const cursor of ['no-cursor', 'AAAA', 'bm90IGEgY3Vyc29y', '%']) {
        const res = await nango.listRecords({ ...things(id), cursor }).catch((err) => err.response);
        assert.ok(res.status >= 400 && res.data.error.code, `a made-up cursor ${cursor} is refused`);
    }
});

test('another environment sees no record and runs no sync of this one', async () => {
    const other = client({ secretKey: prod.secret_key });
    const config = { providerConfigKey: demo.integration, connectionId: demo.connection, model: 'Contact' };
    await refused(other.listRecords(config), 400, 'unknown_connection');
    await refused(other.triggerSync(demo.integration, [demo.sync], demo.connection), 400, 'unknown_provider_config');
});

test('records are gone with their connection', async () => {
    const id = unique('gone');
    await connect(compat, id);
    await run(id, { save: 5 });
    await nango.deleteConnection(compat, id);
    await refused(nango.listRecords(things(id)), 400, 'unknown_connection');
    await connect(compat, id);
    assert.deepEqual((await nango.listRecords(things(id))).records, [], 'a new connection of the same name starts empty');
});
