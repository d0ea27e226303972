// Axios-shaped responses and errors. Function authors test `error.response.status`, `error.code` and
// `axios.isAxiosError(error)`; names, codes and texts here are those of Axios 1.18.

/** Response headers: own lower-case properties, plus Axios' case-insensitive accessors on the prototype. */
class ResponseHeaders {
    get(name) {
        const key = String(name).toLowerCase();
        return Object.hasOwn(this, key) ? this[key] : undefined;
    }

    has(name) {
        return Object.hasOwn(this, String(name).toLowerCase());
    }

    toJSON() {
        return { ...this };
    }
}

/**
 * Repeated headers are joined with ", "; set-cookie is always an array because its values hold commas.
 * @param {Record<string, string | string[]> | undefined} headers
 */
export function responseHeaders(headers) {
    const out = new ResponseHeaders();
    for (const [name, value] of Object.entries(headers ?? {})) {
        const key = name.toLowerCase();
        if (key === '__proto__') continue;
        if (key === 'set-cookie') {
            out[key] = Array.isArray(value) ? value : [value];
        } else {
            out[key] = Array.isArray(value) ? value.join(', ') : String(value);
        }
    }
    return out;
}

/** An error as Axios throws it. Without a response it never came to one. */
export class AxiosError extends Error {
    /**
     * @param {string} message
     * @param {{code?: string, name?: string, config?: object, request?: object, response?: object, cause?: Error}} parts
     */
    constructor(message, { code, name = 'AxiosError', config, request, response, cause } = {}) {
        super(message);
        Object.defineProperty(this, 'message', { value: message, enumerable: true, writable: true, configurable: true });
        this.name = name;
        this.isAxiosError = true;
        if (code !== undefined) this.code = code;
        if (config !== undefined) this.config = config;
        if (request !== undefined) this.request = request;
        if (response !== undefined) {
            this.response = response;
            this.status = response.status;
        }
        if (cause !== undefined) {
            Object.defineProperty(this, 'cause', { value: cause, writable: true, configurable: true });
        }
    }

    toJSON() {
        return {
            message: this.message,
            name: this.name,
            description: this.description,
            number: this.number,
            fileName: this.fileName,
            lineNumber: this.lineNumber,
            columnNumber: this.columnNumber,
            stack: this.stack,
            config: this.config,
            code: this.code,
            status: this.status
        };
    }
}

/** A refusal by the platform's own API (not by the third party), shaped alike. */
export class PlatformError extends AxiosError {
    /**
     * @param {string} op the host operation that was refused
     * @param {{status: number, body?: unknown, headers?: object, code?: string, message?: string}} info
     */
    constructor(op, info) {
        const config = { url: op, method: 'post', headers: {} };
        const body = info.body ?? { error: { code: info.code ?? 'server_error', message: info.message ?? '' } };
        const reply = { status: info.status, statusText: '', headers: info.headers };
        super(`Request failed with status code ${info.status}`, statusParts(response(reply, body, config)));
    }
}

/** @param {{status: number, config: object, request: object}} res */
function statusParts(res) {
    // Axios calls only 4xx a bad request; 304 and 5xx alike are a bad response.
    const code = res.status >= 400 && res.status < 500 ? 'ERR_BAD_REQUEST' : 'ERR_BAD_RESPONSE';
    return { code, config: res.config, request: res.request, response: res };
}

/** @param {ReturnType<typeof response>} res a response whose status is not 2xx */
export function statusError(res) {
    return new AxiosError(`Request failed with status code ${res.status}`, statusParts(res));
}

/**
 * @param {{status: number, statusText?: string, headers?: object, url?: string}} reply
 * @param {unknown} data
 * @param {{url?: string, method?: string}} config
 */
export function response(reply, data, config) {
    const responseURL = reply.url ?? config.url;
    return {
        status: reply.status,
        statusText: reply.statusText ?? '',
        headers: responseHeaders(reply.headers),
        config,
        request: { method: (config.method ?? 'get').toUpperCase(), responseURL, res: { responseUrl: responseURL } },
        data
    };
}

/**
 * The body as user code sees it. `arraybuffer` gives a Buffer. Without responseType, or with `json`, any non-empty text that
 * parses as JSON is parsed whatever its content type; other types leave the text alone.
 * @param {{body?: string, bodyBase64?: string}} reply
 * @param {string | undefined} responseType
 */
export function responseData(reply, responseType) {
    if (responseType === 'arraybuffer') return bodyBuffer(reply);
    if (responseType === 'stream') return new BodyStream(bodyBuffer(reply));
    let text = reply.bodyBase64 === undefined ? (reply.body ?? '') : bodyBuffer(reply).toString('utf8');
    if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    if (text === '' || (responseType && responseType !== 'json')) return text;
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

/** @param {{body?: string, bodyBase64?: string}} reply */
export function bodyBuffer(reply) {
    return reply.bodyBase64 === undefined ? Buffer.from(reply.body ?? '', 'utf8') : Buffer.from(reply.bodyBase64, 'base64');
}

/** The least of a Node readable stream that reading a whole body needs: async iteration and the data/end events. */
class BodyStream {
    #bytes;

    /** @param {Uint8Array} bytes */
    constructor(bytes) {
        this.#bytes = bytes;
    }

    async *[Symbol.asyncIterator]() {
        if (this.#bytes.length > 0) yield this.#bytes;
    }

    /** @param {string} event @param {Function} listener */
    on(event, listener) {
        // data must reach its listener before end does, whatever the order of registration.
        if (event === 'data' && this.#bytes.length > 0) Promise.resolve().then(() => listener(this.#bytes));
        if (event === 'end' || event === 'close') setTimeout(() => listener(), 0);
        return this;
    }
}
