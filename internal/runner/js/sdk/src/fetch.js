// nango.uncontrolledFetch: a plain request to any public address, without the connection's credentials, retries or logs.
// The host answers one hop at a time and applies the outbound policy to each; redirects are followed here.

import { ActionError, NetworkFailure } from './errors.js';
import { FetchResponse } from './response.js';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Headers that describe a body, dropped with it when a redirect turns the request into a GET (Fetch standard, 4.4). */
const BODY_HEADERS = ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length'];
/** Never carried to another origin. */
const CREDENTIAL_HEADERS = ['authorization', 'proxy-authorization', 'cookie'];

/** @param {{host: import('./host.js').Host}} deps */
export function createFetch({ host }) {
    async function hop(request) {
        try {
            return await host.call('fetch', request);
        } catch (err) {
            if (err instanceof NetworkFailure) throw Object.assign(new TypeError('fetch failed'), { cause: err });
            if (err?.code === 'url_not_allowed') throw refused('url_not_allowed', err.message);
            throw err;
        }
    }

    return async function uncontrolledFetch(options) {
        let url = new URL(String(options.url));
        const request = {
            method: String(options.method ?? 'GET').toUpperCase(),
            url: url.href,
            headers: lowerCase(options.headers)
        };
        if (options.body !== undefined && options.body !== null) {
            if (request.method === 'GET' || request.method === 'HEAD') {
                throw new TypeError('Request with GET/HEAD method cannot have body.');
            }
            request.body = String(options.body);
            request.headers['content-type'] ??= 'text/plain;charset=UTF-8';
        }
        for (let redirects = 0; ; redirects++) {
            const reply = await hop(request);
            const location = REDIRECTS.has(reply.status) ? first(reply.headers?.location) : undefined;
            if (location === undefined) return new FetchResponse(reply, url.href, redirects > 0);
            if (redirects === MAX_REDIRECTS) throw refused('too_many_redirects', `more than ${MAX_REDIRECTS} redirects`);
            const next = target(location, url);
            redirect(request, reply.status, next.origin !== url.origin);
            url = next;
            request.url = url.href;
        }
    };
}

function target(location, base) {
    let url;
    try {
        url = new URL(location, base.href);
    } catch {
        throw refused('invalid_redirect', 'the redirect target is not a URL');
    }
    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
        throw refused('invalid_redirect', `a redirect to ${url.protocol} is not followed`);
    }
    return url;
}

/** Changes the request as the Fetch standard does for a redirect of that status. */
function redirect(request, status, crossOrigin) {
    const { method } = request;
    const becomesGet =
        ((status === 301 || status === 302) && method === 'POST') || (status === 303 && method !== 'GET' && method !== 'HEAD');
    if (becomesGet) {
        request.method = 'GET';
        request.body = undefined;
        for (const name of BODY_HEADERS) delete request.headers[name];
    }
    if (crossOrigin) {
        for (const name of CREDENTIAL_HEADERS) delete request.headers[name];
    }
}

const refused = (code, message) => new ActionError({ code, message });
const first = (value) => (Array.isArray(value) ? value[0] : value);

function lowerCase(headers) {
    const out = {};
    for (const [name, value] of Object.entries(headers ?? {})) {
        if (value !== undefined && value !== null) out[name.toLowerCase()] = String(value);
    }
    return out;
}
