// What every file of the suite needs: clients of the server under test, the sandbox, and assertions on refusals.
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import http from 'node:http';
import { Nango } from '@nangohq/node';

/** The line that `patchbay dev --json` printed. */
export const server = JSON.parse(process.env.PATCHBAY_TEST_SERVER);
export const dev = server.environments.find((e) => e.name === 'dev');
export const prod = server.environments.find((e) => e.name === 'prod');
export const demo = server.sandbox;

/** The integration that the suite's own functions are deployed to; each file makes connections of its own in it. */
export const compat = 'compat';

/** An unmodified client of the environment dev. */
export function client(options = {}) {
    return new Nango({ host: server.url, secretKey: dev.secret_key, ...options });
}

export const nango = client();

/** Notes a value that must never be seen in a log. Whoever starts the suite looks for all of them at its end. */
export function secret(value) {
    appendFileSync(process.env.PATCHBAY_TEST_SECRETS, `${value}\n`);
    return value;
}

/** Words that nobody else uses, so that files can run side by side. */
export function unique(prefix) {
    return `${prefix}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
}

/** One request to the server, without the SDK. Gives {status, headers, text, body}. */
export async function api(method, path, { body, raw, headers = {}, key = dev.secret_key } = {}) {
    const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const res = await fetch(server.url + path, { method, headers: { ...authorization, ...type, ...headers }, body: raw ?? (body === undefined ? undefined : JSON.stringify(body)) });
    const text = await res.text();
    let parsed;
    try {
        parsed = JSON.parse(text);
    } catch {
        parsed = undefined;
    }
    return { status: res.status, headers: res.headers, text, body: parsed };
}

/** Asserts that a call of the SDK was refused with this status and code, and gives the error of the answer. */
export async function refused(promise, status, code) {
    const answer = await promise.then(
        (value) => assert.fail(`expected ${status} ${code}, got ${JSON.stringify(value?.data ?? value)}`),
        (err) => {
            assert.ok(err.response, `expected an answer, got ${err}`);
            return err.response;
        }
    );
    return errorOf(answer.status, answer.data, status, code);
}

/** refused for an answer of api. */
export function isRefused(answer, status, code) {
    return errorOf(answer.status, answer.body ?? answer.text, status, code);
}

function errorOf(gotStatus, body, status, code) {
    assert.equal(`${gotStatus} ${body?.error?.code}`, `${status} ${code}`, JSON.stringify(body));
    return body.error;
}

/** Asserts on the modern envelope of a validation error: no payload, and an issue at each of the paths. */
export function hasIssues(error, ...paths) {
    assert.ok(Array.isArray(error.errors), JSON.stringify(error));
    assert.deepEqual(error.errors.map((issue) => issue.path.join('.')).sort(), paths.sort());
    for (const issue of error.errors) {
        assert.equal(typeof issue.code, 'string');
        assert.equal(typeof issue.message, 'string');
        assert.ok(issue.path.every((step) => typeof step === 'string'), 'path elements are strings');
    }
}

/** A request to the sandbox. Gives the parsed answer. */
export async function acme(path, { body, method = body === undefined ? 'GET' : 'POST', headers = {} } = {}) {
    const res = await fetch(demo.url + path, {
        method,
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body: body === undefined ? undefined : JSON.stringify(body)
    });
    const text = await res.text();
    assert.ok(res.ok, `${method} ${path}: ${res.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
}

/** Requests that the sandbox saw at paths with this prefix, oldest first. */
export async function seen(path) {
    const answer = await acme(`/_sandbox/requests?path=${encodeURIComponent(path)}`);
    return answer.requests ?? answer.data ?? answer;
}

/** Fresh tokens of the sandbox, as a connection would get them from its consent page. */
export async function tokens() {
    const redirect = 'http://localhost/callback';
    const query = new URLSearchParams({
        client_id: 'acme-client',
        redirect_uri: redirect,
        response_type: 'code',
        state: 'state',
        scope: 'contacts.read contacts.write deals.read offline_access',
        auto: 'approve'
    });
    const consent = await fetch(`${demo.url}/oauth/authorize?${query}`, { redirect: 'manual' });
    const code = new URL(consent.headers.get('location')).searchParams.get('code');
    const res = await fetch(`${demo.url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirect, client_id: 'acme-client', client_secret: 'acme-secret' })
    });
    assert.equal(res.status, 200, await res.clone().text());
    const answer = await res.json();
    secret(answer.access_token);
    secret(answer.refresh_token);
    return answer;
}

/** Imports a connection, which the SDK can not do, and gives the answer's body. */
export async function importConnection(body, status = 201) {
    const answer = await api('POST', '/connections', { body });
    assert.equal(answer.status, status, answer.text);
    return answer.body;
}

/** Imports a connection to the sandbox that has an hour to live. */
export async function connect(integration, connectionId, more = {}) {
    const fresh = await tokens();
    await importConnection({
        provider_config_key: integration,
        connection_id: connectionId,
        connection_config: { baseUrl: demo.url },
        credentials: {
            type: 'OAUTH2',
            access_token: fresh.access_token,
            refresh_token: fresh.refresh_token,
            expires_at: new Date(Date.now() + fresh.expires_in * 1000).toISOString()
        },
        ...more
    });
    return fresh;
}

/** Waits until look gives something truthy, and gives it. */
export async function eventually(what, look, limit = 30_000) {
    const deadline = Date.now() + limit;
    for (;;) {
        const found = await look();
        if (found) {
            return found;
        }
        assert.ok(Date.now() < deadline, `after ${limit} ms: still not ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

// Ports of this machine that the server may send webhooks to; each file has one of its own.
const ports = (process.env.PATCHBAY_TEST_PORTS ?? '').split(',').map(Number);

/** An app that takes webhooks. Give it to a connection as webhook_url_override. */
export async function receiver(place) {
    const got = [];
    const app = http.createServer((req, res) => {
        const chunks = [];
        req.on('data', (chunk) => chunks.push(chunk));
        req.on('end', () => {
            const raw = Buffer.concat(chunks).toString('utf8');
            got.push({ raw, headers: req.headers, body: JSON.parse(raw) });
            res.writeHead(200).end();
        });
    });
    // A test that fails before it closes its app must not keep the process alive.
    app.unref().on('connection', (socket) => socket.unref());
    await new Promise((resolve) => app.listen(ports[place], '127.0.0.1', resolve));
    return {
        url: `http://127.0.0.1:${app.address().port}/webhooks`,
        got,
        of: (type) => got.filter((hook) => hook.body.type === type),
        close: () => {
            app.closeAllConnections();
            return new Promise((resolve) => app.close(resolve));
        }
    };
}

/** The address of a port that nobody listens on and that the server may reach. */
export const nobody = `http://127.0.0.1:${ports.at(-1)}`;

/** Everything in listRecords, page by page. */
export async function allRecords(config) {
    const records = [];
    let cursor = null;
    do {
        const page = await nango.listRecords({ ...config, ...(cursor === null ? {} : { cursor }) });
        records.push(...page.records);
        cursor = page.next_cursor;
    } while (cursor !== null);
    return records;
}
