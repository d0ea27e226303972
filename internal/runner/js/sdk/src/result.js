// What a thrown value becomes in the result of a run: the error types of the wire contract.

import { AxiosError, PlatformError } from './axios.js';
import { ActionError, SDKError } from './errors.js';
import { limit } from './limiter.js';

/** Lines of a stack that a payload may hold. */
const MAX_STACK_LINES = 10;

/**
 * @param {any} err
 * @param {string} file the bundle's file name: only its stack lines mean something to the author
 * @returns {{type: string, payload: object, upstream?: object, stack?: string}}
 */
export function toResultError(err, file) {
    const mapped = map(err, file);
    mapped.payload = limit(mapped.payload);
    if (mapped.upstream) mapped.upstream.body = mapped.payload;
    const stack = err instanceof Error ? fullStack(err) : '';
    if (stack) mapped.stack = stack;
    return mapped;
}

function map(err, file) {
    if (err instanceof ActionError) return { type: err.type, payload: toObject(err.payload) };
    if (err instanceof SDKError) return { type: err.code, payload: toObject(err.payload) };
    if (err instanceof AxiosError || err?.isAxiosError === true) {
        return err.response ? httpError(err) : { type: 'script_network_error', payload: describe(err, file) };
    }
    return { type: 'script_internal_error', payload: describe(err, file) };
}

function httpError(err) {
    const { status, headers, data } = err.response;
    const body = decoded(data);
    const payload = toObject(isObject(body) && 'payload' in body ? body.payload : body);
    const limited = err instanceof PlatformError && status === 429;
    return {
        type: limited ? 'script_api_rate_limit_error' : 'script_http_error',
        payload,
        upstream: { status, headers: tellingHeaders(headers), body: payload }
    };
}

/** An error body asked for as bytes is still text to whoever reads the error. */
function decoded(data) {
    if (!Buffer.isBuffer(data)) return data;
    const text = data.toString('utf8');
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

function tellingHeaders(headers) {
    const out = {};
    for (const [name, value] of Object.entries(headers ?? {})) {
        const key = name.toLowerCase();
        if (key === 'content-type' || key.startsWith('x-rate')) out[key] = value;
    }
    return out;
}

function describe(err, file) {
    if (!isObject(err)) return { name: 'Error', message: asText(err) };
    const out = { name: err.name, code: err.code, message: err.message || (err instanceof Error ? '' : asText(err)) };
    if (err instanceof Error && err.stack) {
        const lines = fullStack(err).split('\n');
        out.stacktrace = [lines[0], ...lines.slice(1).filter((line) => line.includes(file))]
            .slice(0, MAX_STACK_LINES)
            .map((line) => line.trim());
    }
    return out;
}

/** This engine's stacks have no headline. */
function fullStack(err) {
    const headline = `${err.name}: ${err.message}`;
    const stack = String(err.stack ?? '').trimEnd();
    return stack.startsWith(headline) ? stack : `${headline}\n${stack}`;
}

function asText(value) {
    try {
        return JSON.stringify(value) ?? String(value);
    } catch {
        return String(value);
    }
}

function isObject(value) {
    return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Payloads are objects; anything else becomes the message of one. */
function toObject(value) {
    if (value === undefined || value === null) return {};
    return isObject(value) ? value : { message: value };
}
