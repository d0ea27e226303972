import assert from 'node:assert/strict';
import test, { before } from 'node:test';
import { acme, api, client, connect, demo, hasIssues, importConnection, isRefused, nango, prod, refused, secret, tokens, unique } from './support.js';

const run = unique('conn');
const oauth = `${run}-oauth`;

before(async () => {
    await nango.createIntegration({ provider: 'acme-crm', unique_key: oauth, credentials: { type: 'OAUTH2', client_id: 'acme-client', client_secret: 'acme-secret' } });
});

test('a connection of each mode is imported and read back', async (t) => {
    const password = secret(unique('password'));
    const apiKey = secret(unique('api-key'));
    const token = secret(unique('cc-token'));
    const cases = {
        unauthenticated: [{ type: 'NONE' }, {}],
        'private-api-basic': [
            { type: 'BASIC', username: 'ann', password },
            { type: 'BASIC', username: 'ann', password }
        ],
        'private-api-bearer': [
            { type: 'API_KEY', apiKey },
            { type: 'API_KEY', apiKey }
        ],
        'generic-oauth2-cc': [{ type: 'OAUTH2_CC', token, client_id: 'acme-client', client_secret: 'acme-secret' }, undefined]
    };
    for (const [provider, [credentials, want]] of Object.entries(cases)) {
        await t.test(provider, async () => {
            const key = `${run}-${provider}`;
            const { data: entry } = await nango.getProvider({ provider });
            await nango.createIntegration({ provider, unique_key: key });
            const config = {};
            for (const [name, field] of Object.entries(entry.connection_config ?? {})) {
                config[name] = field.example ?? demo.url;
            }
            const id = unique('user');
            const imported = await importConnection({ provider_config_key: key, connection_id: id, connection_config: config, credentials });
            assert.equal(imported.connection_id, id);
            assert.equal(imported.provider, provider);
            assert.deepEqual(imported.errors, []);
            assert.deepEqual(imported.metadata, {});
            assert.match(imported.created_at, /Z$/);
            const read = await nango.getConnection(key, id);
            assert.equal(read.id, imported.id);
            assert.deepEqual(read.connection_config, config);
            assert.match(read.created_at, /\+00:00$/);
            if (want === undefined) {
                assert.equal(read.credentials.token, token);
                assert.equal(read.credentials.client_id, 'acme-client');
            } else {
                assert.deepEqual(imported.credentials, want);
                assert.deepEqual(read.credentials, want);
            }
            assert.deepEqual(await nango.getToken(key, id), read.credentials, 'getToken gives all of what is no OAuth 2 token');
        });
    }
});

test('an OAuth 2 connection shows its refresh token only when asked', async () => {
    const id = unique('user');
    const fresh = await connect(oauth, id, { metadata: { plan: 'pro' }, tags: { Team: 'blue' }, end_user: { id: 'u1', email: 'u1@example.com' } });
    const plain = await nango.getConnection(oauth, id);
    assert.equal(plain.credentials.access_token, fresh.access_token);
    assert.ok(!JSON.stringify(plain).includes(fresh.refresh_token), 'not anywhere in the answer');
    assert.deepEqual(plain.tags, { end_user_id: 'u1', end_user_email: 'u1@example.com', team: 'blue' });
    assert.deepEqual(plain.metadata, { plan: 'pro' });
    assert.equal(plain.end_user.id, 'u1');
    const whole = await nango.getConnection(oauth, id, false, true);
    assert.equal(whole.credentials.refresh_token, fresh.refresh_token);
    assert.equal(await nango.getToken(oauth, id), fresh.access_token);
    const raw = await nango.getRawTokenResponse(oauth, id);
    assert.equal(raw.access_token, fresh.access_token);
    assert.equal(JSON.stringify(raw).includes(fresh.refresh_token), false);
});

test('forceRefresh gives new tokens and spends the refresh token once', async () => {
    const id = unique('user');
    const fresh = await connect(oauth, id);
    const refreshed = await nango.getConnection(oauth, id, true, true);
    secret(refreshed.credentials.access_token);
    secret(refreshed.credentials.refresh_token);
    assert.notEqual(refreshed.credentials.access_token, fresh.access_token);
    assert.notEqual(refreshed.credentials.refresh_token, fresh.refresh_token);
    assert.ok(new Date(refreshed.credentials.expires_at) > new Date());
    assert.equal(await nango.getToken(oauth, id), refreshed.credentials.access_token);
    assert.equal(await nango.getToken(oauth, id, false), refreshed.credentials.access_token);
});

test('twenty readers of an expired token cause one refresh and no token is spent twice', async () => {
    const id = unique('user');
    const fresh = await tokens();
    await importConnection({
        provider_config_key: oauth,
        connection_id: id,
        connection_config: { baseUrl: demo.url },
        credentials: { type: 'OAUTH2', access_token: fresh.access_token, refresh_token: fresh.refresh_token, expires_at: new Date(Date.now() - 1000).toISOString() }
    });
    const before = await acme('/_sandbox/tokens/stats');
    const all = new Set(await Promise.all(Array.from({ length: 20 }, () => nango.getToken(oauth, id))));
    const after = await acme('/_sandbox/tokens/stats');
    assert.equal(all.size, 1);
    secret([...all][0]);
    assert.equal(after.reuse_detected, before.reuse_detected, 'a refresh token was spent twice');
});

test('a refresh that the provider refuses is told with the connection and without credentials', async () => {
    const id = unique('user');
    const dead = secret(unique('dead-refresh-token'));
    await importConnection({
        provider_config_key: oauth,
        connection_id: id,
        connection_config: { baseUrl: demo.url },
        credentials: { type: 'OAUTH2', access_token: secret(unique('dead-access')), refresh_token: dead, expires_at: new Date(Date.now() - 1000).toISOString() }
    });
    const error = await refused(nango.getToken(oauth, id), 400, 'invalid_credentials');
    assert.equal(error.payload.connection.connection_id, id);
    assert.deepEqual(error.payload.connection.credentials, {});
    assert.ok(!JSON.stringify(error).includes(dead));
    await refused(nango.getToken(oauth, id), 424, 'invalid_credentials');
    const { connections } = await nango.listConnections({ connectionId: id });
    assert.deepEqual(connections[0].errors.map((e) => e.type), ['auth']);
});

test('listConnections filters by id, search, user, tags and integration, and pages', async () => {
    const group = unique('group');
    const ids = Array.from({ length: 5 }, (_, i) => `${group}-${i}`);
    for (const [i, id] of ids.entries()) {
        await connect(oauth, id, {
            tags: { group, parity: i % 2 === 0 ? 'even' : 'odd' },
            end_user: { id: `${group}-user-${i}`, email: `${group}${i}@example.com`, display_name: `Name ${group} ${i}` }
        });
    }
    const idsOf = ({ connections }) => connections.map((c) => c.connection_id);
    const newestFirst = ids.toReversed();
    assert.deepEqual(idsOf(await nango.listConnections({ tags: { Group: group } })), newestFirst);
    assert.deepEqual(idsOf(await nango.listConnections({ tags: { group, parity: 'odd' } })), [ids[3], ids[1]]);
    assert.deepEqual(idsOf(await nango.listConnections({ tags: { group: 'another' } })), []);
    assert.deepEqual(idsOf(await nango.listConnections({ connectionId: ids[2] })), [ids[2]]);
    assert.deepEqual(idsOf(await nango.listConnections({ connectionId: group })), [], 'the id matches as a whole');
    assert.deepEqual(idsOf(await nango.listConnections({ userId: `${group}-user-4` })), [ids[4]]);
    assert.deepEqual(idsOf(await nango.listConnections(undefined, group.toUpperCase())), newestFirst, 'the search does not mind letter case');
    assert.deepEqual(idsOf(await nango.listConnections(undefined, `Name ${group} 3`)), [ids[3]]);
    assert.deepEqual(idsOf(await nango.listConnections(undefined, `${group}1@`)), [ids[1]]);
    assert.deepEqual(idsOf(await nango.listConnections({ tags: { email: `${group}0@example.com` } })), [ids[0]]);
    assert.deepEqual(idsOf(await nango.listConnections({ integrationId: [oauth, 'other'], tags: { group } })), newestFirst);
    assert.deepEqual(idsOf(await nango.listConnections({ integrationId: 'other', tags: { group } })), []);

    const pages = [];
    for (let page = 0; page < 4; page++) {
        pages.push(idsOf(await nango.listConnections({ tags: { group }, limit: 2, page })));
    }
    assert.deepEqual(pages, [newestFirst.slice(0, 2), newestFirst.slice(2, 4), newestFirst.slice(4), []]);
    for (const one of (await nango.listConnections({ tags: { group } })).connections) {
        assert.equal('credentials' in one, false);
        assert.equal(typeof one.created, 'string');
    }
});

test('wrong filters are refused and say which', async () => {
    for (const [query, path] of [
        ['limit=0', 'limit'],
        ['limit=2001', 'limit'],
        ['limit=x', 'limit'],
        ['page=-1', 'page'],
        ['search=', 'search'],
        ['stray=1', ''],
        ['tags[end_user_email]=nobody', 'tags.end_user_email']
    ]) {
        hasIssues(isRefused(await api('GET', `/connections?${query}`), 400, 'invalid_query_params'), path);
    }
});

test('metadata is replaced, merged, echoed and kept apart', async () => {
    const [a, b] = [unique('user'), unique('user')];
    await connect(oauth, a);
    await connect(oauth, b);
    const set = await nango.setMetadata(oauth, [a, b], { plan: 'pro', nested: { x: 1 } });
    assert.equal(set.status, 201);
    assert.deepEqual(set.data, { metadata: { plan: 'pro', nested: { x: 1 } }, connection_id: [a, b], provider_config_key: oauth });
    const update = await nango.updateMetadata(oauth, a, { nested: { y: 2 }, extra: null });
    assert.equal(update.status, 200);
    assert.deepEqual(await nango.getMetadata(oauth, a), { plan: 'pro', nested: { y: 2 }, extra: null }, 'the merge is one level deep');
    assert.deepEqual(await nango.getMetadata(oauth, b), { plan: 'pro', nested: { x: 1 } });
    await nango.setMetadata(oauth, a, {});
    assert.deepEqual(await nango.getMetadata(oauth, a), {});
    await refused(nango.setMetadata(oauth, [b, 'no-such-user'], { plan: 'free' }), 404, 'unknown_connection');
    assert.deepEqual(await nango.getMetadata(oauth, b), { plan: 'pro', nested: { x: 1 } }, 'nothing changes when one is unknown');
    isRefused(await api('POST', '/connections/metadata', { body: { connection_id: a, provider_config_key: oauth, metadata: [] } }), 400, 'invalid_body');
});

test('patchConnection replaces the tags and the end user', async () => {
    const id = unique('user');
    await connect(oauth, id, { tags: { old: 'yes' } });
    assert.deepEqual(await nango.patchConnection({ connectionId: id, provider_config_key: oauth }, { tags: { new: 'yes' } }), { success: true });
    assert.deepEqual((await nango.getConnection(oauth, id)).tags, { new: 'yes' });
    await nango.patchConnection({ connectionId: id, provider_config_key: oauth }, { end_user: { id: 'u9', display_name: 'Nine' } });
    assert.deepEqual((await nango.getConnection(oauth, id)).tags, { end_user_id: 'u9', end_user_display_name: 'Nine' });
    hasIssues(await refused(nango.patchConnection({ connectionId: id, provider_config_key: oauth }, { stray: 1 }), 400, 'invalid_body'), '');
    await refused(nango.patchConnection({ connectionId: id, provider_config_key: 'no-such' }, {}), 400, 'unknown_provider_config');
    await refused(nango.patchConnection({ connectionId: 'no-such', provider_config_key: oauth }, {}), 404, 'not_found');
    await refused(
        nango.patchConnection({ connectionId: id, provider_config_key: oauth }, { webhook_url_override: 'http://169.254.169.254/latest' }),
        400,
        'invalid_body'
    );
});

test('an import over a connection replaces it and keeps its number', async () => {
    const id = unique('user');
    await connect(oauth, id, { metadata: { a: 1 }, tags: { a: 'b' } });
    const first = await nango.getConnection(oauth, id);
    await connect(oauth, id);
    const second = await nango.getConnection(oauth, id);
    assert.equal(second.id, first.id);
    assert.equal(second.created_at, first.created_at);
    assert.deepEqual(second.metadata, {});
    assert.deepEqual(second.tags, {});
    assert.equal((await nango.listConnections({ connectionId: id })).connections.length, 1);
});

test('imports that can not be are refused', async () => {
    const credentials = { type: 'OAUTH2', access_token: 'a' };
    for (const [body, status, code, paths] of [
        [{ provider_config_key: 'no-such', credentials }, 404, 'not_found'],
        [{ provider_config_key: oauth, credentials: { type: 'API_KEY', apiKey: 'k' } }, 400, 'invalid_body'],
        [{ provider_config_key: oauth }, 400, 'invalid_body', ['credentials']],
        [{ provider_config_key: oauth, credentials: { type: 'OAUTH2' } }, 400, 'invalid_body', ['credentials.access_token']],
        [{ provider_config_key: oauth, credentials: { type: 'MAGIC' } }, 400, 'invalid_body', ['credentials.type']],
        [{ provider_config_key: oauth, credentials, stray: true }, 400, 'invalid_body', ['']],
        [{ provider_config_key: oauth, credentials, tags: { '1a': 'b' } }, 400, 'invalid_body', ['tags.1a']],
        [{ provider_config_key: oauth, credentials, webhook_url_override: 'http://10.0.0.1/' }, 400, 'invalid_body', ['webhook_url_override']]
    ]) {
        const error = isRefused(await api('POST', '/connections', { body }), status, code);
        if (paths) {
            hasIssues(error, ...paths);
        }
    }
    isRefused(await api('POST', '/connections?upsert=1', { body: { provider_config_key: oauth, credentials } }), 400, 'invalid_query_params');
});

test('deleteConnection deletes once', async () => {
    const id = unique('user');
    await connect(oauth, id);
    assert.deepEqual((await nango.deleteConnection(oauth, id)).data, { success: true });
    await refused(nango.deleteConnection(oauth, id), 400, 'unknown_connection');
    await refused(nango.getConnection(oauth, id), 404, 'not_found');
    assert.deepEqual((await nango.listConnections({ connectionId: id })).connections, []);
});

test('unknown integrations and connections have their own codes', async () => {
    await refused(nango.getConnection('no-such', 'x'), 400, 'unknown_provider_config');
    await refused(nango.getConnection(oauth, 'no-such'), 404, 'not_found');
    hasIssues(isRefused(await api('GET', '/connections/x'), 400, 'invalid_query_params'), 'provider_config_key');
    isRefused(await api('GET', `/connections/x?provider_config_key=${oauth}&force_refresh=maybe`), 400, 'invalid_query_params');
});

test('ids with unusual characters are found again', async () => {
    for (const id of ['a b', "it's", 'x+y@z', 'pipe|d:;,.=~', '{braces}[1]']) {
        const name = `${id}-${run}`;
        await connect(oauth, name);
        assert.equal((await nango.getConnection(oauth, name)).connection_id, name);
        await nango.deleteConnection(oauth, name);
    }
});

test('another environment finds no connection of this one', async () => {
    const id = unique('user');
    await connect(oauth, id);
    const other = client({ secretKey: prod.secret_key });
    assert.deepEqual((await other.listConnections({ connectionId: id })).connections, []);
    await refused(other.getConnection(oauth, id), 400, 'unknown_provider_config');
    await refused(other.deleteConnection(oauth, id), 400, 'unknown_connection');
});

test('the older names of the routes answer too', async () => {
    const id = unique('user');
    await connect(oauth, id);
    assert.equal((await api('GET', `/connection/${id}?provider_config_key=${oauth}`)).body.connection_id, id);
    assert.equal((await api('GET', `/connection?connectionId=${id}`)).body.connections.length, 1);
});

test('getEnvironmentVariables gives a bare array', async () => {
    assert.deepEqual(await nango.getEnvironmentVariables(), []);
    isRefused(await api('GET', '/environment-variables?a=1'), 400, 'invalid_query_params');
});
