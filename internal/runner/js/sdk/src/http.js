// nango.proxy and the five verbs: one call of the `http` op each, answered in Axios' shape.

import { AxiosError, response, responseData, statusError } from './axios.js';
import { encodeBody } from './body.js';
import { NetworkFailure } from './errors.js';

/**
 * @param {{host: import('./host.js').Host, context: object, forgetConnection: (key: string, id: string) => void}} deps
 */
export function createHttp({ host, context, forgetConnection }) {
    async function proxy(config) {
        const site = new Error().stack; // the caller's frames, gone after the first await
        const request = toRequest(config ?? {}, context);
        const shown = shownConfig(request);
        let reply;
        try {
            reply = await host.call('http', request);
        } catch (err) {
            if (!(err instanceof NetworkFailure)) throw err;
            throw at(site, new AxiosError(err.message, { code: err.code, name: err.originalName, config: shown, cause: err }));
        }
        if (reply.connectionStale) forgetConnection(request.providerConfigKey, request.connectionId);
        if (reply.url) shown.url = reply.url;
        const res = response(reply, responseData(reply, request.responseType), shown);
        if (res.status < 200 || res.status > 299) throw at(site, statusError(res));
        return res;
    }

    const verb = (method) => (config) => proxy({ ...config, method });
    return {
        proxy,
        get: verb('GET'),
        post: verb('POST'),
        put: verb('PUT'),
        patch: verb('PATCH'),
        delete: verb('DELETE')
    };
}

function at(site, err) {
    err.stack = site;
    return err;
}

/**
 * @param {any} config what the caller gave
 * @param {any} context
 */
function toRequest(config, context) {
    const method = String(config.method ?? 'GET').toUpperCase();
    const headers = requestHeaders(config.headers);
    const { contentType, data, dataBase64 } = encodeBody(
        method,
        config.data,
        headers['content-type'] ?? context.providerContentType
    );
    if (contentType) headers['content-type'] = contentType;
    return {
        method,
        endpoint: config.endpoint,
        baseUrlOverride: config.baseUrlOverride,
        providerConfigKey: config.providerConfigKey ?? context.providerConfigKey,
        connectionId: config.connectionId ?? context.connectionId,
        headers,
        params: queryParams(config.params),
        responseType: config.responseType,
        retries: Number(config.retries) || 0,
        retryOn: config.retryOn ?? undefined,
        decompress: flag(config.decompress),
        forwardHeadersOnRedirect: flag(config.forwardHeadersOnRedirect),
        data,
        dataBase64
    };
}

/** Lower-case names; null, undefined and false values are left out, lists are joined. */
function requestHeaders(headers) {
    const out = {};
    for (const [name, value] of Object.entries(headers ?? {})) {
        if (value === undefined || value === null || value === false) continue;
        out[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : String(value);
    }
    return out;
}

/** Text stays text; a map becomes ordered pairs of strings, without its undefined values. */
function queryParams(params) {
    if (params === undefined || params === null || typeof params === 'string') return params || undefined;
    const entries = params instanceof URLSearchParams ? [...params.entries()] : Object.entries(params);
    return entries.filter(([, value]) => value !== undefined).map(([name, value]) => [name, String(value)]);
}

/** Flags may come as the text of a header. */
function flag(value) {
    if (value === undefined || value === null) return undefined;
    return value === true || value === 'true';
}

/** What `response.config` shows of a request: nothing that the host adds, so no credential. */
function shownConfig(request) {
    return {
        url: request.endpoint ?? request.baseUrlOverride,
        method: request.method.toLowerCase(),
        headers: request.headers,
        params: Array.isArray(request.params) ? Object.fromEntries(request.params) : request.params,
        data: request.data,
        responseType: request.responseType
    };
}
