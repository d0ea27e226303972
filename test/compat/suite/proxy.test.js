import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import test, { before } from 'node:test';
import { acme, api, connect, demo, hasIssues, importConnection, isRefused, nango, nobody, refused, secret, seen, server, dev, tokens, unique } from './support.js';

const key = unique('proxy');
const user = unique('user');
const call = { providerConfigKey: key, connectionId: user };
let fresh;

before(async () => {
    await nango.createIntegration({ provider: 'acme-crm', unique_key: key, credentials: { type: 'OAUTH2', client_id: 'acme-client', client_secret: 'acme-secret' } });
    fresh = await connect(key, user);
});

const sha = (bytes) => createHash('sha256').update(bytes).digest('hex');

test('every verb arrives with its path, query, body and the credentials', async () => {
    const data = { name: 'Ada', big: 9007199254740993n.toString(), list: [1, 2] };
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'REPORT']) {
        const res = await nango.proxy({ ...call, method, endpoint: '/v1/anything/verbs?a=1&b=x%20y', ...(method === 'GET' ? {} : { data }) });
        assert.equal(res.status, 200, method);
        assert.equal(res.data.method, method);
        assert.equal(res.data.path, '/v1/anything/verbs');
        const sent = JSON.stringify(res.data);
        assert.ok(sent.includes('a=1&b=x%20y') || sent.includes('a=1\\u0026b=x%20y'), `the query of ${method} is untouched: ${sent}`);
        const authorization = [res.data.headers.authorization ?? res.data.headers.Authorization].flat()[0];
        assert.equal(authorization, `Bearer ${fresh.access_token}`);
        if (method !== 'GET') {
            assert.deepEqual(JSON.parse(res.data.body_text), data, method);
        }
        assert.ok(!JSON.stringify(res.data.headers).includes(dev.secret_key), 'our own key goes nowhere');
    }
});

test('the short forms do the same', async () => {
    for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
        const res = await nango[method]({ ...call, endpoint: `/v1/anything/short/${method}`, ...(method === 'get' ? {} : { data: { method } }) });
        assert.equal(res.data.method, method.toUpperCase());
    }
});

test('params are added and custom headers arrive without their prefix', async () => {
    const res = await nango.get({ ...call, endpoint: '/v1/anything/params', params: { q: 'a&b=c', n: 1 }, headers: { 'X-Custom': 'yes', 'X-Other': 'a,b' } });
    const headers = Object.fromEntries(Object.entries(res.data.headers).map(([name, value]) => [name.toLowerCase(), [value].flat()[0]]));
    assert.equal(headers['x-custom'], 'yes');
    assert.equal(headers['x-other'], 'a,b');
    assert.ok(!Object.keys(headers).some((name) => /^(nango|patchbay|provider-config-key|connection-id|retries|base-url)/.test(name)), JSON.stringify(headers));
});

test('a body without data arrives as the reference sends it', async () => {
    const res = await nango.post({ ...call, endpoint: '/v1/anything/empty' });
    assert.equal(res.data.body_text, '{}');
});

test('the answer of the third party is handed over: status, headers and body', async () => {
    const created = await nango.post({ ...call, endpoint: '/v1/contacts', data: { first_name: 'Proxy', last_name: 'Made', email: `${unique('p')}@example.com` } });
    assert.equal(created.status, 201);
    assert.ok(created.headers.location);
    const read = await nango.get({ ...call, endpoint: `/v1/contacts/${created.data.id}` });
    assert.deepEqual(read.data, created.data);
    await nango.delete({ ...call, endpoint: `/v1/contacts/${created.data.id}` });

    const missing = await nango.get({ ...call, endpoint: '/v1/contacts/no-such' }).catch((err) => err.response);
    assert.equal(missing.status, 404);
    assert.ok(missing.data.error.code);
    for (const status of [204, 400, 403, 409, 418, 422]) {
        const res = await nango.get({ ...call, endpoint: `/v1/status/${status}` }).catch((err) => err.response);
        assert.equal(res.status, status);
    }
});

test('a download of 32 MB is streamed and complete', async () => {
    const size = 32 * 1024 * 1024;
    const [direct, proxied] = await Promise.all(
        [`${demo.url}/v1/bytes/${size}`, null].map(async (url) => {
            const hash = createHash('sha256');
            let length = 0;
            const stream = url ? Readable.fromWeb((await fetch(url)).body) : (await nango.get({ ...call, endpoint: `/v1/bytes/${size}`, responseType: 'stream' })).data;
            for await (const chunk of stream) {
                hash.update(chunk);
                length += chunk.length;
            }
            return { length, sha: hash.digest('hex') };
        })
    );
    assert.equal(proxied.length, size);
    assert.deepEqual(proxied, direct);
});

test('a binary upload arrives byte for byte', async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    const res = await nango.post({ ...call, endpoint: '/v1/anything/upload', data: bytes, headers: { 'Content-Type': 'application/octet-stream' } });
    assert.equal(res.data.body_size, bytes.length);
    assert.equal(res.data.body_sha256, sha(bytes));
});

test('encoded answers are readable', async () => {
    for (const encoding of ['gzip', 'br', 'deflate']) {
        const res = await nango.get({ ...call, endpoint: `/v1/encoded/${encoding}` });
        assert.equal(typeof res.data, 'object', encoding);
        const decoded = await nango.get({ ...call, endpoint: `/v1/encoded/${encoding}`, decompress: true });
        assert.deepEqual(decoded.data, res.data);
        assert.equal(decoded.headers['content-encoding'], undefined);
    }
});

test('retries repeat what failed and nothing is repeated unasked', async () => {
    for (const [name, status, retries, times, want, requests] of [
        ['unasked', 500, 0, 1, 500, 1],
        ['server-error', 500, 2, 1, 200, 2],
        ['rate-limit', 429, 2, 2, 200, 3],
        ['used-up', 503, 1, 5, 503, 2],
        ['not-a-failure', 404, 3, 1, 404, 1]
    ]) {
        const path = `/v1/anything/${unique(name)}`;
        await acme('/_sandbox/faults', { body: [{ match: { path }, times, status, headers: { 'Retry-After': '0' }, body: { error: name } }] });
        const res = await nango.get({ ...call, endpoint: path, retries }).catch((err) => err.response);
        assert.equal(res.status, want, name);
        assert.equal((await seen(path)).length, requests, name);
    }
});

test('retryOn adds statuses', async () => {
    const path = `/v1/anything/${unique('retry-on')}`;
    await acme('/_sandbox/faults', { body: [{ match: { path }, times: 1, status: 409, headers: { 'Retry-After': '0' }, body: {} }] });
    assert.equal((await nango.post({ ...call, endpoint: path, retries: 2, retryOn: [409], data: { once: 'more' } })).status, 200);
    const requests = await seen(path);
    assert.equal(requests.length, 2);
});

test('a 401 refreshes the credentials once and the call succeeds', async () => {
    const id = unique('user');
    const first = await connect(key, id);
    const path = `/v1/anything/${unique('revoked')}`;
    await acme('/_sandbox/faults', { body: [{ match: { path }, times: 1, status: 401, body: { error: { code: 'expired' } } }] });
    const res = await nango.get({ providerConfigKey: key, connectionId: id, endpoint: path });
    assert.equal(res.status, 200);
    const after = await nango.getToken(key, id);
    secret(after);
    assert.notEqual(after, first.access_token, 'the credentials were refreshed');
    assert.equal((await seen(path)).length, 2);
});

test('a token that is about to expire is refreshed before the call', async () => {
    const id = unique('user');
    const old = await tokens();
    await importConnection({
        provider_config_key: key,
        connection_id: id,
        connection_config: { baseUrl: demo.url },
        credentials: { type: 'OAUTH2', access_token: old.access_token, refresh_token: old.refresh_token, expires_at: new Date(Date.now() + 60_000).toISOString() }
    });
    const res = await nango.get({ providerConfigKey: key, connectionId: id, endpoint: '/v1/anything/expiring' });
    const sent = [res.data.headers.authorization ?? res.data.headers.Authorization].flat()[0];
    assert.notEqual(sent, `Bearer ${old.access_token}`);
    secret(sent.replace('Bearer ', ''));
});

test('the base url can be replaced, but only by what the outbound policy allows', async () => {
    const res = await nango.get({ ...call, endpoint: '/anything/override', baseUrlOverride: `${demo.url}/v1` });
    assert.equal(res.data.path, '/v1/anything/override');
    for (const url of ['http://169.254.169.254', 'http://10.0.0.1', 'http://[fe80::1]', 'http://100.64.0.1']) {
        await refused(nango.get({ ...call, endpoint: '/latest/meta-data', baseUrlOverride: url }), 400, 'base_url_override_not_allowed');
    }
});

test('a redirect keeps the credentials on the host they are for', async () => {
    const res = await nango.get({ ...call, endpoint: '/v1/redirect?to=/v1/anything/landed' });
    assert.equal(res.data.path, '/v1/anything/landed');
    await refused(nango.get({ ...call, endpoint: `/v1/redirect?to=${encodeURIComponent('http://169.254.169.254/')}` }), 400, 'base_url_override_not_allowed');
});

test('a third party that breaks off does not look like a whole answer', async () => {
    const path = `/v1/anything/${unique('truncated')}`;
    await acme('/_sandbox/faults', { body: [{ match: { path }, times: 1, truncate: true }] });
    await assert.rejects(nango.get({ ...call, endpoint: path }));
});

test('no answer at all is a network error with its code', async () => {
    const res = await nango.get({ ...call, endpoint: '/', baseUrlOverride: nobody }).catch((err) => err.response);
    assert.equal(res.status, 500);
    assert.equal(res.data.code, 'ECONNREFUSED');
});

test('wrong calls are refused before anything is sent', async () => {
    await refused(nango.get({ ...call, providerConfigKey: 'no-such', endpoint: '/' }), 404, 'unknown_provider_config');
    await refused(nango.get({ ...call, connectionId: 'no-such', endpoint: '/' }), 400, 'server_error');
    const error = isRefused(await api('GET', '/proxy/v1/me'), 400, 'invalid_headers');
    hasIssues(error, 'connection-id', 'provider-config-key');
    for (const [name, value] of [
        ['retries', 'many'],
        ['retry-on', 'abc'],
        ['base-url-override', 'no url'],
        ['decompress', 'maybe']
    ]) {
        const answer = await api('GET', '/proxy/v1/me', { headers: { 'provider-config-key': key, 'connection-id': user, [name]: value } });
        hasIssues(isRefused(answer, 400, 'invalid_headers'), name);
    }
    assert.equal((await fetch(`${server.url}/proxy/v1/me`)).status, 401);
});
