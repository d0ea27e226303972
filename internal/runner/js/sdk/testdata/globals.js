// The globals that ops.md names, as small as the SDK's tests allow, and a host line answered by the Go function `native`.
// Evaluated in the scope that also holds runtime.js; the value of this file is nothing.

const __host = {
    async call(op, json) {
        const answer = JSON.parse(native(op, json));
        if (answer.never) return new Promise(() => {});
        if (answer.error) throw Object.assign(new Error(answer.error.message), { hostError: answer.error });
        return answer.reply;
    }
};

const modules = {};
const require = (name) => {
    if (!(name in modules)) modules[name] = __loadBundle(native('require', name), name);
    return modules[name];
};

const __loadBundle = (code) => {
    const module = { exports: {} };
    new Function('exports', 'require', 'module', code + '\n')(module.exports, require, module);
    return module.exports;
};

globalThis.setTimeout = (fn) => {
    // Later than any promise job already queued: enough of a clock for tests.
    let turns = 10;
    const tick = () => (turns-- > 0 ? Promise.resolve().then(tick) : fn());
    tick();
};

const utf8 = (text) => {
    const escaped = encodeURIComponent(text.toWellFormed());
    return escaped.match(/%..|./g)?.map((c) => (c.length === 3 ? parseInt(c.slice(1), 16) : c.charCodeAt(0))) ?? [];
};
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

globalThis.Buffer = class Buffer extends Uint8Array {
    static from(value, encoding, length) {
        if (value instanceof ArrayBuffer) return new Buffer(value, encoding, length);
        if (typeof value !== 'string') return new Buffer(value);
        if (encoding !== 'base64') return new Buffer(utf8(value));
        const bits = [...value.replace(/=+$/, '')].map((c) => ALPHABET.indexOf(c).toString(2).padStart(6, '0')).join('');
        return new Buffer(bits.match(/.{8}/g)?.map((b) => parseInt(b, 2)) ?? []);
    }
    static concat(list) {
        return new Buffer(list.flatMap((part) => [...part]));
    }
    static isBuffer(value) {
        return value instanceof Buffer;
    }
    static byteLength(text) {
        return native('byteLength', text);
    }
    toString(encoding) {
        if (encoding === 'base64') {
            const bits = [...this].map((b) => b.toString(2).padStart(8, '0')).join('');
            const text = (bits.match(/.{1,6}/g) ?? []).map((b) => ALPHABET[parseInt(b.padEnd(6, '0'), 2)]).join('');
            return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
        }
        const escaped = [...this].map((b) => '%' + b.toString(16).padStart(2, '0')).join('');
        for (let cut = 0; cut < 4; cut++) {
            try {
                return decodeURIComponent(escaped.slice(0, escaped.length - 3 * cut)) + '\ufffd'.repeat(cut > 0 ? 1 : 0);
            } catch {
                // a character cut in two at the end
            }
        }
        return '\ufffd';
    }
};

globalThis.URLSearchParams = class URLSearchParams {
    #pairs;
    constructor(init = []) {
        if (typeof init === 'string') {
            const decode = (s) => decodeURIComponent(s.replaceAll('+', ' '));
            init = init.replace(/^\?/, '').split('&').filter(Boolean).map((p) => (p + '=').split('=', 2).map(decode));
        }
        this.#pairs = Array.isArray(init) ? init : Object.entries(init);
    }
    entries() {
        return this.#pairs[Symbol.iterator]();
    }
    [Symbol.iterator]() {
        return this.entries();
    }
    toString() {
        const special = (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase();
        const encode = (v) => encodeURIComponent(String(v)).replace(/[!'()~]/g, special).replaceAll('%20', '+');
        return this.#pairs.map(([k, v]) => `${encode(k)}=${encode(v)}`).join('&');
    }
};

globalThis.URL = class URL {
    constructor(href, base) {
        const parsed = JSON.parse(native('url', JSON.stringify([href, base ?? ''])));
        if (parsed.error) throw new TypeError('Invalid URL');
        Object.assign(this, parsed);
    }
    toString() {
        return this.href;
    }
};
