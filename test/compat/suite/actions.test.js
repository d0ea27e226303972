import assert from 'node:assert/strict';
import test, { before } from 'node:test';
import { acme, api, client, compat, connect, demo, eventually, hasIssues, isRefused, nango, nobody, prod, refused, unique } from './support.js';

const user = unique('actions');

before(() => connect(compat, user));

const fail = (how, more = {}) => nango.triggerAction(compat, user, 'fail', { how, ...more });

test('the demo action creates a contact in the third party', async () => {
    const email = `${unique('ada')}@example.com`;
    const contact = await nango.triggerAction(demo.integration, demo.connection, demo.action, { firstName: 'Ada', lastName: 'Lovelace', email });
    assert.equal(contact.name, 'Ada Lovelace');
    assert.equal(contact.email, email);
    const res = await nango.get({ providerConfigKey: demo.integration, connectionId: demo.connection, endpoint: `/v1/contacts/${contact.id}` });
    assert.equal(res.data.email, email);
    const faults = await acme('/_sandbox/requests?method=POST&path=/v1/contacts');
    assert.equal(JSON.stringify(faults).split(email).length - 1 >= 1, true);
});

test('the output is given as it is, whatever it is', async () => {
    for (const value of [{ a: [1, { b: null }] }, [1, 'two'], 'text', 12.5, true]) {
        assert.deepEqual(await nango.triggerAction(compat, user, 'echo', value), value);
    }
    for (const falsy of [undefined, null, 0, false, '']) {
        assert.deepEqual(await nango.triggerAction(compat, user, 'echo', falsy), {}, `the input ${JSON.stringify(falsy)} reaches the action as an empty object`);
    }
    const unicode = { text: 'ä😀\u0000\u2028</script>' };
    assert.deepEqual(await nango.triggerAction(compat, user, 'echo', unicode), unicode);
});

test('ActionError carries its payload', async () => {
    for (const [how, payload] of [
        ['object', { type: 'not_found', id: 1 }],
        ['string', { message: 'plain text' }],
        ['list', { message: [1, 2] }],
        ['nothing', {}]
    ]) {
        const error = await refused(fail(how), 500, 'action_script_runtime_error');
        assert.deepEqual(error.payload, payload, how);
        assert.equal(typeof error.message, 'string');
    }
});

test('an error that was not handled is told with its name and message', async () => {
    const boom = await refused(fail('error'), 500, 'script_internal_error');
    assert.equal(boom.payload.name, 'Error');
    assert.equal(boom.payload.message, 'boom');
    const type = await refused(fail('type-error'), 500, 'script_internal_error');
    assert.equal(type.payload.name, 'TypeError');
    for (const how of ['throw-string', 'throw-null']) {
        const error = await refused(fail(how), 500, 'script_internal_error');
        assert.equal(typeof error.payload, 'object', how);
    }
});

test('an error of the third party is handed over', async () => {
    const error = await refused(fail('upstream'), 424, 'script_http_error');
    assert.equal(error.upstream.status, 404);
    assert.ok(error.upstream.headers['content-type'].startsWith('application/json'));
    assert.deepEqual(error.upstream.body, error.payload);
    assert.equal('message' in error, false);
    const network = await refused(fail('refused', { url: nobody }), 500, 'script_network_error');
    assert.equal(network.payload.code, 'ECONNREFUSED');
});

test('an input that the action checks is refused by it', async () => {
    assert.deepEqual(await nango.triggerAction(compat, user, 'strict', { keep: true }), { kept: true });
    for (const input of [{ keep: 'yes' }, {}, undefined]) {
        const error = await refused(nango.triggerAction(compat, user, 'strict', input), 500, 'action_script_runtime_error');
        assert.match(error.payload.message, /invalid input/i);
    }
});

test('a function that takes too much is ended and the next one runs', async () => {
    const large = await refused(fail('large'), 500, 'script_internal_error');
    assert.match(large.payload.message, /too large/);
    await refused(fail('memory'), 500, 'function_runtime_out_of_memory');
    assert.equal(await fail('unawaited'), 'done');
    assert.equal(await fail('fine'), 'fine');
});

test('an endless loop is stopped and does not hold up others', { timeout: 120_000 }, async () => {
    const endless = refused(fail('endless'), 500, 'function_runtime_timed_out');
    for (let i = 0; i < 5; i++) {
        assert.equal(await fail('fine'), 'fine');
    }
    await endless;
});

test('what can not be triggered has its own codes', async () => {
    await refused(nango.triggerAction(compat, 'no-such', 'echo'), 400, 'unknown_connection');
    await refused(nango.triggerAction('no-such', user, 'echo'), 400, 'unknown_connection');
    await refused(nango.triggerAction(compat, user, 'no-such'), 404, 'not_found');
    await refused(client({ secretKey: prod.secret_key }).triggerAction(compat, user, 'echo'), 400, 'unknown_connection');
    hasIssues(isRefused(await api('POST', '/action/trigger', { body: { action_name: 'echo' } }), 400, 'invalid_headers'), 'connection-id', 'provider-config-key');
    const headers = { 'provider-config-key': compat, 'connection-id': user };
    hasIssues(isRefused(await api('POST', '/action/trigger', { body: {}, headers }), 400, 'invalid_body'), 'action_name');
    hasIssues(isRefused(await api('POST', '/action/trigger', { body: { action_name: 'a b' }, headers }), 400, 'invalid_body'), 'action_name');
    isRefused(await api('POST', '/action/trigger?a=1', { body: { action_name: 'echo' }, headers }), 400, 'invalid_query_params');
    const stray = await api('POST', '/action/trigger', { body: { action_name: 'echo', input: 1, stray: true }, headers });
    assert.equal(stray.status, 200, 'this body is not strict');
    assert.equal(stray.text, '1');
});

test('an asynchronous action is fetched when it is done', async () => {
    const { id, statusUrl } = await nango.triggerActionAsync(compat, user, 'echo', { later: true });
    assert.equal(statusUrl, `/action/${id}`);
    const output = await eventually('done', () => nango.getAsyncActionResult({ id }).catch(() => undefined));
    assert.deepEqual(output, { later: true });
    assert.deepEqual(await nango.getAsyncActionResult({ statusUrl }), { later: true });
    await refused(nango.getAsyncActionResult({ id: '7f9c24e8-3b12-4cf5-9b5c-6a0a1b2c3d4e' }), 404, 'not_found');
    await refused(nango.getAsyncActionResult({ id: 'no-uuid' }), 400, 'invalid_uri_params');
});

test('a failed action is an operation in the logs with its error', async () => {
    const word = unique('needle');
    await refused(fail('error', { word }), 500, 'script_internal_error');
    const found = await eventually('logged', async () => {
        const { body } = await api('GET', `/logs/operations?type=action&status=failed&integration=${compat}&connection=${user}&search=${word}`);
        return body.data.length > 0 ? body.data : undefined;
    });
    assert.equal(found.length, 1);
});

test('what a careless function logs holds no secret', async () => {
    assert.deepEqual(await nango.triggerAction(compat, user, 'reveal'), { logged: 6 });
});
