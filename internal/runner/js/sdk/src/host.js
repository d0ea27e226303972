// The run's line to the host: one method, JSON in and out, and the meaning of a refusal (ops.md §4).

import { PlatformError } from './axios.js';
import { NetworkFailure, SDKError, SDK_CODES } from './errors.js';

/** Ops whose target is a third party: only there can a socket fail. */
const OUTBOUND_OPS = new Set(['http', 'fetch']);

export class Host {
    #call;

    /** Calls under way, logging excluded: what a function that returned now would leave unfinished. */
    pending = 0;

    /** @param {(op: string, json: string) => Promise<string>} call */
    constructor(call) {
        this.#call = call;
    }

    /**
     * @param {string} op
     * @param {object} [request]
     * @returns {Promise<any>} the reply, `{}` when the host answered nothing
     */
    call(op, request = {}) {
        return this.callText(op, JSON.stringify(request));
    }

    /**
     * @param {string} op
     * @param {string} json the request, already text
     * @returns {Promise<any>} as call
     */
    async callText(op, json) {
        // Taken before the first await: afterwards the frames of the user's function are gone.
        const site = new Error().stack;
        const counted = op !== 'log';
        if (counted) this.pending++;
        try {
            const text = await this.#call(op, json);
            return text ? (JSON.parse(text) ?? {}) : {};
        } catch (cause) {
            const err = refusal(op, cause);
            if (err !== cause && site) err.stack = site;
            throw err;
        } finally {
            if (counted) this.pending--;
        }
    }
}

/**
 * @param {string} op
 * @param {any} cause what the host rejected with
 * @returns {any} the error that user code sees
 */
function refusal(op, cause) {
    const info = cause?.hostError;
    if (!info || typeof info !== 'object') return cause;
    const code = typeof info.code === 'string' ? info.code : '';
    if (SDK_CODES.has(code)) return new SDKError(code, info.message, info.payload);
    if (typeof info.status === 'number') return new PlatformError(op, info);
    if (OUTBOUND_OPS.has(op) && /^[A-Z]/.test(code)) return new NetworkFailure(info);
    const err = new Error(info.message || code || `${op} failed`);
    if (code) err.code = code;
    if (info.payload !== undefined) err.payload = info.payload;
    return err;
}
