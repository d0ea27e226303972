// How a request body becomes bytes: Axios' rules for objects, strings, forms and binary data.

import { AxiosError } from './axios.js';

const FORM = 'application/x-www-form-urlencoded';
const WITH_DEFAULT_TYPE = new Set(['POST', 'PUT', 'PATCH']);
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

/**
 * @typedef {{data?: string, dataBase64?: string, contentType?: string}} EncodedBody contentType is absent when none applies
 */

/**
 * @param {string} method upper case
 * @param {any} data
 * @param {string | undefined} contentType what the caller or else the provider file asks for
 * @returns {EncodedBody}
 */
export function encodeBody(method, data, contentType) {
    if (!WITH_BODY.has(method)) return { contentType };
    const encoded = encode(data, contentType ?? '');
    // Axios sets this default for the three verbs even when there is no body.
    encoded.contentType ||= contentType || (WITH_DEFAULT_TYPE.has(method) ? FORM : undefined);
    return encoded;
}

/** @returns {EncodedBody} */
function encode(data, type) {
    if (isFormData(data)) return multipart([...data.entries()]);
    if (isBytes(data)) return { dataBase64: toBuffer(data).toString('base64') };
    if (data instanceof URLSearchParams) return { data: data.toString(), contentType: type || `${FORM};charset=utf-8` };
    const isObject = data !== null && typeof data === 'object';
    if (isObject && type.includes(FORM)) return { data: new URLSearchParams(formPairs(data, String)).toString() };
    if (isObject && type.includes('multipart/form-data')) return multipart(formPairs(data, (value) => value));
    if (isObject || type.includes('application/json')) {
        const text = typeof data === 'string' ? jsonText(data) : JSON.stringify(data);
        return text === undefined ? {} : { data: text, contentType: type || 'application/json' };
    }
    if (!data) return {};
    if (typeof data === 'string') return { data };
    throw new AxiosError('Data after transformation must be a string, an ArrayBuffer, a Buffer, or a Stream', {
        code: 'ERR_BAD_REQUEST'
    });
}

/** A string under a JSON content type: sent trimmed when it is JSON already, quoted when it is not. */
function jsonText(text) {
    try {
        JSON.parse(text);
        return text.trim();
    } catch {
        return JSON.stringify(text);
    }
}

/**
 * Flattens an object into form fields the way Axios does: `a[b]` for objects, `c[]` for top-level lists of scalars,
 * `d[0]` elsewhere; null and undefined are left out, a key that ends in `{}` carries JSON.
 * @param {object} root
 * @param {(value: unknown) => unknown} render applied to scalars
 * @returns {[string, any][]}
 */
function formPairs(root, render) {
    const pairs = [];
    const seen = new Set();
    const scalar = (value) => {
        if (value instanceof Date) return value.toISOString();
        return isBytes(value) ? value : render(value);
    };
    const add = (name, value) => pairs.push([name, scalar(value)]);
    const walk = (node, path) => {
        if (seen.has(node)) throw new Error(`circular reference in form data at ${path.join('.')}`);
        seen.add(node);
        for (const [key, value] of Object.entries(node)) {
            if (value === undefined || value === null) continue;
            if (path.length === 0 && typeof value === 'object') {
                if (key.endsWith('{}')) {
                    add(key, JSON.stringify(value));
                    continue;
                }
                if (Array.isArray(value) && (key.endsWith('[]') || value.every((item) => !isBranch(item)))) {
                    for (const item of value) {
                        if (item !== undefined && item !== null) add(`${fieldName(key)}[]`, item);
                    }
                    continue;
                }
            }
            const next = [...path, key];
            if (isBranch(value)) walk(value, next);
            else add(next.map((part, i) => (i === 0 ? fieldName(part) : `[${fieldName(part)}]`)).join(''), value);
        }
        seen.delete(node);
    };
    walk(root, []);
    return pairs;
}

function isBranch(value) {
    if (Array.isArray(value)) return true;
    if (value === null || typeof value !== 'object') return false;
    const proto = Object.getPrototypeOf(value);
    return proto === null || proto === Object.prototype;
}

function fieldName(key) {
    return key.endsWith('[]') ? key.slice(0, -2) : key;
}

/** @param {[string, any][]} fields @returns {EncodedBody} */
function multipart(fields) {
    let boundary = '--------------------------';
    for (let i = 0; i < 24; i++) boundary += Math.floor(Math.random() * 16).toString(16);
    const chunks = [];
    for (const [name, value] of fields) {
        const bytes = isBytes(value);
        const file = value?.filename ?? value?.name;
        let head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"`;
        if (bytes && file) head += `; filename="${quoted(String(file))}"`;
        if (bytes) head += `\r\nContent-Type: ${value.type || 'application/octet-stream'}`;
        chunks.push(Buffer.from(`${head}\r\n\r\n`, 'utf8'), bytes ? toBuffer(value) : Buffer.from(String(value), 'utf8'));
        chunks.push(Buffer.from('\r\n', 'utf8'));
    }
    chunks.push(Buffer.from(`--${boundary}--\r\n`, 'utf8'));
    return {
        dataBase64: Buffer.concat(chunks).toString('base64'),
        contentType: `multipart/form-data; boundary=${boundary}`
    };
}

function quoted(text) {
    return text.replaceAll('\r', '%0D').replaceAll('\n', '%0A').replaceAll('"', '%22');
}

function isFormData(value) {
    return Object.prototype.toString.call(value) === '[object FormData]' && typeof value.entries === 'function';
}

function isBytes(value) {
    return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

function toBuffer(value) {
    return value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
