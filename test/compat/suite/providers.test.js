import assert from 'node:assert/strict';
import test from 'node:test';
import { api, hasIssues, isRefused, nango, refused } from './support.js';

test('listProviders gives every provider with its name, mode and logo', async () => {
    const { data } = await nango.listProviders({});
    assert.ok(data.length >= 40, `${data.length} providers`);
    for (const provider of data) {
        assert.match(provider.name, /^[a-zA-Z0-9_-]+$/);
        assert.ok(provider.display_name && provider.auth_mode && Array.isArray(provider.categories), provider.name);
        assert.ok(provider.logo_url.endsWith(`/images/template-logos/${provider.name}.svg`), provider.logo_url);
    }
    assert.equal(new Set(data.map((provider) => provider.name)).size, data.length);
});

test('listProviders searches by name and finds nothing for a name that nobody has', async () => {
    const { data } = await nango.listProviders({ search: 'ACME' });
    assert.ok(data.length > 0 && data.every((provider) => provider.name.includes('acme')));
    assert.deepEqual((await nango.listProviders({ search: 'no-such-provider' })).data, []);
});

test('getProvider gives one provider as the catalog has it', async () => {
    const { data } = await nango.getProvider({ provider: 'github' });
    assert.equal(data.name, 'github');
    assert.equal(data.auth_mode, 'OAUTH2');
    assert.ok(data.token_url && data.authorization_url && data.proxy.base_url);
});

test('getProvider refuses a provider that does not exist', async () => {
    await refused(nango.getProvider({ provider: 'no-such-provider' }), 404, 'not_found');
});

test('stray query parameters are refused', async () => {
    hasIssues(isRefused(await api('GET', '/providers?page=1'), 400, 'invalid_query_params'), '');
    isRefused(await api('GET', '/providers/github?a=b'), 400, 'invalid_query_params');
});

test('a trailing slash and other letter case find the same route', async () => {
    assert.equal((await api('GET', '/providers/')).status, 200);
    assert.equal((await api('GET', '/Providers/github')).status, 200);
});
