import assert from 'node:assert/strict';
import test from 'node:test';
import { client, compat, connect, dev, eventually, nango, receiver, unique } from './support.js';

const verifier = client({ webhookSigningKey: dev.webhook_signing_key });

/** Asserts on what every webhook has. */
function isGenuine(hook) {
    assert.equal(verifier.verifyIncomingWebhookRequest(hook.raw, hook.headers), true);
    assert.equal(verifier.verifyWebhookSignature(hook.headers['x-nango-signature'], hook.body), true, 'the older signature holds too');
    assert.equal(verifier.verifyIncomingWebhookRequest(`${hook.raw} `, hook.headers), false, 'a changed body is not genuine');
    const stranger = client({ webhookSigningKey: 'another-key' });
    assert.equal(stranger.verifyIncomingWebhookRequest(hook.raw, hook.headers), false, 'nor is it for another key');
    assert.equal(hook.headers['content-type'], 'application/json');
    assert.equal(hook.body.from, 'nango');
    assert.ok(hook.headers['patchbay-event-id']);
}

/** Asserts that no event came twice. */
function hasNoRepetition(hooks) {
    const ids = hooks.map((hook) => hook.headers['patchbay-event-id']);
    assert.equal(new Set(ids).size, ids.length, `events came twice: ${ids}`);
}

test('a new connection is told once, with its tags and a signature that the SDK accepts', async () => {
    const app = await receiver(0);
    const id = unique('hooks');
    const fresh = await connect(compat, id, { webhook_url_override: app.url, tags: { team: 'blue' } });
    await eventually('told', () => app.of('auth').length > 0);
    await connect(compat, id, { webhook_url_override: app.url });
    await eventually('told again', () => app.of('auth').length > 1);
    await app.close();
    const [creation, override, ...more] = app.of('auth');
    assert.deepEqual(more, []);
    for (const hook of [creation, override]) {
        isGenuine(hook);
        assert.equal(hook.body.connectionId, id);
        assert.equal(hook.body.providerConfigKey, compat);
        assert.equal(hook.body.provider, 'acme-crm');
        assert.equal(hook.body.authMode, 'OAUTH2');
        assert.equal(hook.body.environment, 'dev');
        assert.equal(hook.body.success, true);
        assert.ok(!hook.raw.includes(fresh.access_token) && !hook.raw.includes(fresh.refresh_token), 'a webhook has no secret');
    }
    assert.equal(creation.body.operation, 'creation');
    assert.deepEqual(creation.body.tags, { team: 'blue' });
    assert.equal(override.body.operation, 'override');
    hasNoRepetition(app.got);
});

test('a sync run is told once per model, with its results', async () => {
    const app = await receiver(0);
    const id = unique('hooks');
    await connect(compat, id, { webhook_url_override: app.url });
    const times = 3;
    for (let i = 1; i <= times; i++) {
        await nango.setMetadata(compat, id, { save: 10, version: i });
        await nango.triggerSync(compat, ['things'], id);
        await eventually(`told ${i} times`, () => app.of('sync').length >= i);
    }
    // What would come twice would come soon: the plan of repetitions is over after a second.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await app.close();
    const hooks = app.of('sync');
    assert.equal(hooks.length, times);
    hasNoRepetition(app.got);
    for (const [i, hook] of hooks.entries()) {
        isGenuine(hook);
        const { connectionId, providerConfigKey, syncName, syncVariant, model, success, responseResults } = hook.body;
        assert.deepEqual(
            { connectionId, providerConfigKey, syncName, syncVariant, model, success },
            { connectionId: id, providerConfigKey: compat, syncName: 'things', syncVariant: 'base', model: 'Thing', success: true }
        );
        assert.deepEqual(responseResults, i === 0 ? { added: 10, updated: 0, deleted: 0 } : { added: 0, updated: 10, deleted: 0 });
        const changed = await nango.listRecords({ providerConfigKey: compat, connectionId: id, model: 'Thing', modifiedAfter: hook.body.modifiedAfter });
        assert.equal(changed.records.length, 10, 'modifiedAfter finds what the run changed');
    }
});

test('header names are found in any letter case, and a missing signature is not genuine', async () => {
    const app = await receiver(0);
    await connect(compat, unique('hooks'), { webhook_url_override: app.url });
    await eventually('told', () => app.of('auth').length > 0);
    await app.close();
    const [hook] = app.got;
    const upper = Object.fromEntries(Object.entries(hook.headers).map(([name, value]) => [name.toUpperCase(), value]));
    assert.equal(verifier.verifyIncomingWebhookRequest(hook.raw, upper), true);
    assert.equal(verifier.verifyIncomingWebhookRequest(hook.raw, {}), false);
});
