import assert from 'node:assert/strict';
import test from 'node:test';
import { api, client, compat, demo, dev, hasIssues, isRefused, nango, refused, server } from './support.js';

test('keys that are missing, malformed or unknown are told apart, in the older envelope', async () => {
    for (const [headers, code] of [
        [{}, 'missing_auth_header'],
        [{ authorization: 'Bearer not-a-key' }, 'invalid_secret_key_format'],
        [{ authorization: `bearer ${dev.secret_key}` }, 'invalid_secret_key_format'],
        [{ authorization: 'Bearer 6ba7b810-9dad-11d1-80b4-00c04fd430c8' }, 'invalid_secret_key_format'],
        [{ authorization: 'Bearer 7f9c24e8-3b12-4cf5-9b5c-6a0a1b2c3d4e' }, 'unknown_account']
    ]) {
        const error = isRefused(await api('GET', '/integrations', { key: null, headers }), 401, code);
        assert.deepEqual(error.payload, {});
        assert.equal(typeof error.message, 'string');
    }
    const missing = await api('GET', '/connections', { key: null });
    assert.deepEqual(Object.keys(missing.body.error).sort(), ['code', 'message', 'payload']);
});

test('a key works without Bearer and in any case', async () => {
    assert.equal((await api('GET', '/integrations', { key: null, headers: { authorization: dev.secret_key } })).status, 200);
    assert.equal((await api('GET', '/integrations', { key: dev.secret_key.toUpperCase() })).status, 200);
});

test('the SDK gets the same refusals', async () => {
    await refused(client({ secretKey: 'nonsense' }).listIntegrations(), 401, 'invalid_secret_key_format');
    await refused(client({ secretKey: '7f9c24e8-3b12-4cf5-9b5c-6a0a1b2c3d4e' }).listConnections({}), 401, 'unknown_account');
});

test('bodies that are no JSON, or no object, are refused', async () => {
    const headers = { 'content-type': 'application/json' };
    for (const raw of ['{', '{"a":1,}', 'nothing', '{"a":1} x']) {
        isRefused(await api('POST', '/integrations', { raw, headers }), 400, 'invalid_json');
    }
    for (const raw of ['[]', '"text"', '1', 'null']) {
        const answer = await api('POST', '/integrations', { raw, headers });
        assert.equal(answer.status, 400, raw);
        assert.ok(['invalid_body', 'invalid_json'].includes(answer.body.error.code), answer.text);
    }
    hasIssues(isRefused(await api('POST', '/integrations'), 400, 'invalid_body'), '');
    isRefused(await api('POST', '/integrations', { raw: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } }), 415, 'invalid_content_type');
    assert.equal((await api('GET', '/integrations', { headers })).status, 200, 'a JSON type without a body is fine');
});

test('deep and repeated JSON does no harm', async () => {
    const headers = { 'content-type': 'application/json' };
    const deep = await api('POST', '/integrations', { raw: '['.repeat(100_000) + ']'.repeat(100_000), headers });
    assert.ok(deep.status >= 400 && deep.body.error.code, deep.text.slice(0, 200));
    const proto = await api('POST', '/integrations', { raw: '{"__proto__":{"provider":"github"},"unique_key":"x"}', headers });
    assert.equal(proto.status, 400);
    assert.equal((await api('GET', '/providers')).status, 200, 'the server is still there');
});

test('ids that can not be are refused before anything is looked up', async () => {
    hasIssues(isRefused(await api('GET', '/integrations/a!b'), 400, 'invalid_uri_params'), 'uniqueKey');
    isRefused(await api('GET', `/integrations/${'x'.repeat(256)}`), 400, 'invalid_uri_params');
    isRefused(await api('GET', `/connections/${'x'.repeat(256)}?provider_config_key=${compat}`), 400, 'invalid_uri_params');
    isRefused(await api('GET', '/connections/x?provider_config_key=a!b'), 400, 'invalid_query_params');
    isRefused(await api('GET', '/action/1'), 400, 'invalid_uri_params');
});

test('a route that is not there is a 404 in the envelope', async () => {
    isRefused(await api('GET', '/no/such/route'), 404, 'not_found');
    isRefused(await api('PUT', '/integrations'), 404, 'not_found');
});

test('an internal fault is never shown, and none happens for odd input', async () => {
    for (const path of ['/connections?connectionId=%00', '/connections?search=%25_%5C', `/connections?tags[a]=${encodeURIComponent("' OR 1=1 --")}`, '/providers?search=(', '/integrations/%2e%2e', '/logs/operations?search=%22']) {
        const answer = await api('GET', path);
        assert.ok(answer.status < 500, `${path}: ${answer.status} ${answer.text}`);
        assert.ok(!/goroutine|\.go:|SQL|sqlite|pgx/i.test(answer.text), answer.text);
    }
});

test('preflights are answered without a key', async () => {
    const res = await fetch(`${server.url}/connections`, { method: 'OPTIONS', headers: { origin: 'https://app.example.com', 'access-control-request-method': 'GET' } });
    assert.equal(res.status, 204);
    assert.equal(res.headers.get('access-control-allow-origin'), '*');
});

test('log searches that can not be are refused', async () => {
    for (const [query, path] of [
        ['limit=0', 'limit'],
        ['limit=1001', 'limit'],
        ['status=odd', 'status'],
        ['from=yesterday', 'from'],
        ['stray=1', '']
    ]) {
        hasIssues(isRefused(await api('GET', `/logs/operations?${query}`), 400, 'invalid_query_params'), path);
    }
    const cursor = await api('GET', '/logs/operations?cursor=made-up');
    assert.equal(cursor.status, 400, cursor.text);
    isRefused(await api('GET', '/logs/operations/no-such'), 404, 'not_found');
});

test('what was done is found in the logs by every filter', async () => {
    const word = `w${Date.now()}`;
    await nango.get({ providerConfigKey: demo.integration, connectionId: demo.connection, endpoint: `/v1/anything/${word}` });
    const query = `type=proxy&status=success&integration=${demo.integration}&connection=${demo.connection}&from=${new Date(Date.now() - 60_000).toISOString()}&search=${word}`;
    let found;
    for (let i = 0; i < 100 && !found; i++) {
        const { body } = await api('GET', `/logs/operations?${query}`);
        found = body.data[0];
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.ok(found, 'the operation is found by a word of its URL');
    const { body } = await api('GET', `/logs/operations/${found.id}/messages`);
    assert.ok(body.data.length > 0 && 'total' in body.pagination && 'cursor' in body.pagination);
    const none = await api('GET', `/logs/operations?${query.replace('status=success', 'status=failed')}`);
    assert.deepEqual(none.body.data, []);
});
