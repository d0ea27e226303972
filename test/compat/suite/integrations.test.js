import assert from 'node:assert/strict';
import test from 'node:test';
import { api, client, connect, hasIssues, isRefused, nango, prod, refused, secret, unique } from './support.js';

const clientSecret = secret(unique('client-secret'));

async function create(key, more = {}) {
    const { data } = await nango.createIntegration({
        provider: 'acme-crm',
        unique_key: key,
        credentials: { type: 'OAUTH2', client_id: 'acme-client', client_secret: clientSecret, scopes: 'contacts.read,contacts.write' },
        ...more
    });
    return data;
}

test('an integration is created, listed, read, changed, renamed and deleted', async () => {
    const key = unique('int');
    const created = await create(key, { display_name: 'Mine' });
    assert.deepEqual(
        { unique_key: created.unique_key, provider: created.provider, display_name: created.display_name, forward_webhooks: created.forward_webhooks },
        { unique_key: key, provider: 'acme-crm', display_name: 'Mine', forward_webhooks: true }
    );
    assert.equal(created.credentials, undefined, 'secrets are only given when asked for');

    const { configs } = await nango.listIntegrations();
    assert.equal(configs.filter((config) => config.unique_key === key).length, 1);
    assert.ok(!JSON.stringify(configs).includes(clientSecret), 'a list has no secrets');

    assert.deepEqual((await nango.getIntegration({ uniqueKey: key })).data, created);

    const renamed = `${key}-renamed`;
    const { data: updated } = await nango.updateIntegration({ uniqueKey: key }, { unique_key: renamed, display_name: 'Yours', forward_webhooks: false });
    assert.equal(updated.unique_key, renamed);
    assert.equal(updated.display_name, 'Yours');
    assert.equal(updated.forward_webhooks, false);
    await refused(nango.getIntegration({ uniqueKey: key }), 404, 'not_found');

    const gone = await nango.deleteIntegration(renamed);
    assert.equal(gone.status, 200);
    assert.deepEqual(gone.data, { success: true });
    await refused(nango.getIntegration({ uniqueKey: renamed }), 404, 'not_found');
    await refused(nango.deleteIntegration(renamed), 404, 'not_found');
});

test('include gives what was asked for and nothing else', async () => {
    const key = unique('include');
    await create(key);
    const { data: credentials } = await nango.getIntegration({ uniqueKey: key }, { include: ['credentials'] });
    assert.deepEqual(credentials.credentials, {
        type: 'OAUTH2',
        client_id: 'acme-client',
        client_secret: clientSecret,
        scopes: 'contacts.read,contacts.write',
        webhook_secret: null
    });
    assert.equal('webhook_url' in credentials, false);
    const { data: webhook } = await nango.getIntegration({ uniqueKey: key }, { include: ['webhook'] });
    assert.equal('webhook_url' in webhook, true);
    assert.equal('credentials' in webhook, false);
    const both = await api('GET', `/integrations/${key}?include=credentials&include=webhook`);
    assert.ok('webhook_url' in both.body.data && 'credentials' in both.body.data);
    isRefused(await api('GET', `/integrations/${key}?include=everything`), 400, 'invalid_query_params');
});

test('credentials that are changed in part keep the rest', async () => {
    const key = unique('part');
    await create(key);
    const next = secret(unique('client-secret'));
    await nango.updateIntegration({ uniqueKey: key }, { credentials: { type: 'OAUTH2', client_id: 'other', client_secret: next } });
    const { data } = await nango.getIntegration({ uniqueKey: key }, { include: ['credentials'] });
    assert.equal(data.credentials.client_id, 'other');
    assert.equal(data.credentials.client_secret, next);
    assert.equal(data.credentials.scopes, 'contacts.read,contacts.write');
});

test('what can not be created is refused with the code and the place', async () => {
    const key = unique('dup');
    await create(key);
    const cases = [
        [{ provider: 'no-such', unique_key: unique('x') }, ['provider']],
        [{ provider: 'acme-crm', unique_key: key, credentials: { type: 'OAUTH2', client_id: 'a', client_secret: 'b' } }, ['uniqueKey']],
        [{ provider: 'acme-crm', unique_key: 'a/b' }, ['unique_key']],
        [{ unique_key: 'x' }, ['provider']],
        [{ provider: 'acme-crm' }, ['unique_key']],
        [{ provider: 'acme-crm', unique_key: 'x', stray: 1 }, ['']],
        [{ provider: 'acme-crm', unique_key: 'x', credentials: { client_id: 'a' } }, ['credentials.type']],
        [{ provider: 'acme-crm', unique_key: 'x', credentials: 'none' }, ['credentials']]
    ];
    for (const [body, paths] of cases) {
        hasIssues(await refused(nango.createIntegration(body), 400, 'invalid_body'), ...paths);
    }
    // These are about rules, not about the shape: a sentence and no list.
    for (const body of [
        { provider: 'acme-crm', unique_key: unique('x') },
        { provider: 'acme-crm', unique_key: unique('x'), credentials: { type: 'TBA', client_id: 'a', client_secret: 'b' } }
    ]) {
        const error = await refused(nango.createIntegration(body), 400, 'invalid_body');
        assert.equal(typeof error.message, 'string');
        assert.equal(error.errors, undefined);
    }
    const { configs } = await nango.listIntegrations();
    assert.equal(configs.filter((config) => config.unique_key === key).length, 1, 'a refused duplicate changes nothing');
});

test('an integration with connections is not renamed', async () => {
    const key = unique('held');
    await create(key, { credentials: { type: 'OAUTH2', client_id: 'acme-client', client_secret: 'acme-secret' } });
    await connect(key, 'held-user');
    const error = await refused(nango.updateIntegration({ uniqueKey: key }, { unique_key: `${key}-2` }), 400, 'invalid_body');
    assert.equal(typeof error.message, 'string');
    assert.equal((await nango.getIntegration({ uniqueKey: key })).data.unique_key, key);
});

test('deleting an integration deletes its connections', async () => {
    const key = unique('cascade');
    await create(key, { credentials: { type: 'OAUTH2', client_id: 'acme-client', client_secret: 'acme-secret' } });
    const id = unique('user');
    await connect(key, id);
    await nango.deleteIntegration(key);
    assert.deepEqual((await nango.listConnections({ connectionId: id })).connections, []);
});

test('another environment sees nothing of it', async () => {
    const key = unique('mine');
    await create(key);
    const other = client({ secretKey: prod.secret_key });
    assert.ok(!(await other.listIntegrations()).configs.some((config) => config.unique_key === key));
    await refused(other.getIntegration({ uniqueKey: key }), 404, 'not_found');
    await refused(other.deleteIntegration(key), 404, 'not_found');
    assert.equal((await nango.getIntegration({ uniqueKey: key })).data.unique_key, key);
});

test('the public list has no stray parameters', async () => {
    isRefused(await api('GET', '/integrations?limit=1'), 400, 'invalid_query_params');
    isRefused(await api('POST', '/integrations?dry=1', { body: {} }), 400, 'invalid_query_params');
});
