// Errors that the SDK itself throws. Axios-shaped errors are in axios.js.

/** What user code throws to answer its caller with a chosen payload: `throw new nango.ActionError({code: 'not_found'})`. */
export class ActionError extends Error {
    /** @param {unknown} [payload] kept only when truthy */
    constructor(payload) {
        super();
        this.type = 'action_script_runtime_error';
        if (payload) {
            this.payload = payload;
        }
    }
}

/** Codes that end a run with that very code as its error type. */
export const SDK_CODES = new Set([
    'script_aborted',
    'execution_interrupted',
    'execution_timeout',
    'unknown_provider_template_in_config'
]);

/** The codes among SDK_CODES by which the host stops a run; code that swallows other failures must let these through. */
const CANCEL_CODES = new Set(['script_aborted', 'execution_interrupted', 'execution_timeout']);

/** The platform ended the run, or refuses to go on with it. */
export class SDKError extends Error {
    /**
     * @param {string} code one of SDK_CODES
     * @param {string} [message]
     * @param {object} [payload]
     */
    constructor(code, message, payload) {
        super(message || code);
        this.code = code;
        this.payload = payload ?? {};
    }
}

/** @param {unknown} err */
export function isCancellation(err) {
    return err instanceof SDKError && CANCEL_CODES.has(err.code);
}

/** The same failure under another message; its code and origin stay. */
export function renamed(err, message) {
    const out = new Error(message, { cause: err });
    if (err?.code !== undefined) out.code = err.code;
    if (err?.payload !== undefined) out.payload = err.payload;
    if (err?.stack) out.stack = err.stack;
    return out;
}

/** No answer from the third party (refused, DNS, reset, too many redirects). Never reaches user code: http.js and fetch.js
 * turn it into the shape their callers expect. */
export class NetworkFailure extends Error {
    /** @param {{code: string, message?: string, name?: string}} info */
    constructor(info) {
        super(info.message || info.code);
        this.code = info.code;
        this.originalName = info.name || (info.code.startsWith('ERR_FR_') ? `Error [${info.code}]` : 'Error');
    }
}
