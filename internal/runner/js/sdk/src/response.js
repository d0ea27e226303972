// A WHATWG Response as far as a fully received body allows: status, headers, and each way to read the body once.

import { bodyBuffer } from './axios.js';

export class FetchHeaders {
    #values = new Map();

    /** @param {Record<string, string | string[]> | undefined} headers */
    constructor(headers) {
        for (const [name, value] of Object.entries(headers ?? {})) {
            this.#values.set(name.toLowerCase(), Array.isArray(value) ? value : [String(value)]);
        }
    }

    get(name) {
        return this.#values.get(String(name).toLowerCase())?.join(', ') ?? null;
    }

    has(name) {
        return this.#values.has(String(name).toLowerCase());
    }

    getSetCookie() {
        return [...(this.#values.get('set-cookie') ?? [])];
    }

    /** Sorted by name, as the standard wants. */
    *entries() {
        for (const name of [...this.#values.keys()].sort()) yield [name, this.get(name)];
    }

    *keys() {
        for (const [name] of this.entries()) yield name;
    }

    *values() {
        for (const [, value] of this.entries()) yield value;
    }

    forEach(callback, thisArg) {
        for (const [name, value] of this.entries()) callback.call(thisArg, value, name, this);
    }

    [Symbol.iterator]() {
        return this.entries();
    }
}

export class FetchResponse {
    #bytes;
    #used = false;

    /**
     * @param {{status: number, statusText?: string, headers?: object, body?: string, bodyBase64?: string}} reply
     * @param {string} url
     * @param {boolean} redirected
     */
    constructor(reply, url, redirected) {
        this.#bytes = bodyBuffer(reply);
        this.status = reply.status;
        this.statusText = reply.statusText ?? '';
        this.ok = reply.status >= 200 && reply.status <= 299;
        this.headers = new FetchHeaders(reply.headers);
        this.url = url;
        this.redirected = redirected;
        this.type = 'basic';
    }

    get bodyUsed() {
        return this.#used;
    }

    async text() {
        return this.#take().toString('utf8').replace(/^\ufeff/, '');
    }

    async json() {
        return JSON.parse(await this.text());
    }

    async bytes() {
        return new Uint8Array(await this.arrayBuffer());
    }

    async arrayBuffer() {
        const bytes = this.#take();
        return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    }

    clone() {
        if (this.#used) throw new TypeError('Response.clone: Body has already been consumed.');
        const { status, statusText } = this;
        const reply = { status, statusText, bodyBase64: this.#bytes.toString('base64') };
        const copy = new FetchResponse(reply, this.url, this.redirected);
        copy.headers = this.headers;
        return copy;
    }

    #take() {
        if (this.#used) throw new TypeError('Body is unusable: Body has already been read');
        this.#used = true;
        return this.#bytes;
    }
}
