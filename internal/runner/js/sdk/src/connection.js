// The run's connection and integration: credentials, metadata, token, environment variables.

import { response } from './axios.js';

/** A connection may be one minute old: the host refreshes credentials well before they expire. */
const CONNECTION_TTL_MS = 60_000;
/** Integrations change by hand only. */
const INTEGRATION_TTL_MS = 600_000;

/** Results by key, forgotten after a time. */
class Memo {
    #ttl;
    #entries = new Map();

    constructor(ttl) {
        this.#ttl = ttl;
    }

    get(key) {
        const entry = this.#entries.get(key);
        return entry && Date.now() - entry.at < this.#ttl ? entry.value : undefined;
    }

    set(key, value) {
        this.#entries.set(key, { value, at: Date.now() });
    }

    delete(key) {
        this.#entries.delete(key);
    }
}

const connectionKey = (providerConfigKey, connectionId) => JSON.stringify([providerConfigKey, connectionId]);

/**
 * @param {{host: import('./host.js').Host, context: object}} deps
 */
export function createConnection({ host, context }) {
    const connections = new Memo(CONNECTION_TTL_MS);
    const integrations = new Memo(INTEGRATION_TTL_MS);
    const own = [context.providerConfigKey, context.connectionId];

    function forgetConnection(providerConfigKey, connectionId) {
        connections.delete(connectionKey(providerConfigKey, connectionId));
    }

    async function getConnection(providerConfigKeyOverride, connectionIdOverride, options) {
        const providerConfigKey = providerConfigKeyOverride || own[0];
        const connectionId = connectionIdOverride || own[1];
        const key = connectionKey(providerConfigKey, connectionId);
        const asked = {};
        for (const name of ['forceRefresh', 'refreshToken', 'refreshGithubAppJwtToken']) {
            if (options?.[name]) asked[name] = true;
        }
        const memo = Object.keys(asked).length > 0 ? undefined : connections.get(key);
        if (memo) return memo;
        const connection = await host.call('connection.get', { providerConfigKey, connectionId, ...asked });
        // One that shows its refresh token was asked for by name; later plain calls must not show it.
        if (asked.refreshToken) connections.delete(key);
        else connections.set(key, connection);
        return connection;
    }

    async function getToken() {
        const [providerConfigKey, connectionId] = own;
        const { credentials } = await host.call('connection.get', { providerConfigKey, connectionId });
        if (credentials?.type === 'OAUTH2') return credentials.access_token;
        if (credentials?.type === 'OAUTH1') {
            return { oAuthToken: credentials.oauth_token, oAuthTokenSecret: credentials.oauth_token_secret };
        }
        return credentials;
    }

    async function getIntegration(queries) {
        const include = queries?.include ?? [];
        const key = include.join(',');
        const memo = integrations.get(key);
        if (memo) return memo;
        const integration = await host.call('integration.get', { include });
        integrations.set(key, integration);
        return integration;
    }

    async function getWebhookURL() {
        const integration = await getIntegration({ include: ['webhook'] });
        return integration.webhook_url;
    }

    async function getMetadata() {
        return (await getConnection()).metadata ?? null;
    }

    async function writeMetadata(op, metadata) {
        const reply = await host.call(op, { metadata });
        forgetConnection(...own);
        return response(reply, reply.body, { url: op, method: op === 'metadata.set' ? 'post' : 'patch', headers: {} });
    }

    const setMetadata = (metadata) => writeMetadata('metadata.set', metadata);
    const updateMetadata = (metadata) => writeMetadata('metadata.update', metadata);

    return {
        forgetConnection,
        methods: {
            getConnection,
            getToken,
            getIntegration,
            getWebhookURL,
            getMetadata,
            setMetadata,
            updateMetadata,
            getFieldMapping: async () => (await getMetadata())?.fieldMapping ?? {},
            setFieldMapping: (fieldMapping) => updateMetadata({ fieldMapping }),
            getEnvironmentVariables: () => host.call('environment.variables')
        }
    };
}
