// Loads a bundle and finds in it what a kind of run executes.

/**
 * @param {(code: string, filename: string) => any} loadBundle
 * @param {{code: string, name: string, sdkVersion?: string}} bundle
 * @returns {{exports: any, definition: any}} definition is the default export: an object with a type, or a function
 */
export function load(loadBundle, bundle) {
    const exports = loadBundle(bundle.code, bundle.name);
    const definition = exports?.default;
    if (typeof definition === 'function') return { exports, definition };
    if (definition !== null && typeof definition === 'object' && typeof definition.type === 'string') {
        return { exports, definition };
    }
    throw new Error('Invalid script exports');
}

/** The type a definition must have to be run as a kind. */
const TYPES = { sync: 'sync', webhook: 'sync', action: 'action', 'on-event': 'onEvent' };

/**
 * @param {string} kind
 * @param {{exports: any, definition: any}} loaded
 * @param {string | undefined} sdkVersion
 * @returns {(nango: object, input: any) => Promise<any>} resolves to the output of the run
 */
export function entryPoint(kind, { exports, definition }, sdkVersion) {
    if (!Object.hasOwn(TYPES, kind)) throw new Error(`Unknown kind of run "${kind}"`);
    if (typeof definition === 'function') return legacy(kind, exports, definition);
    if (!String(sdkVersion ?? '').includes('-zero')) throw new Error('Invalid script configuration');
    if (definition.type !== TYPES[kind]) {
        throw new Error(`Invalid script type: a ${kind} run needs type "${TYPES[kind]}", the script has "${definition.type}"`);
    }
    // Functions written without an input schema destructure their input: a missing one is an empty object.
    const given = (input) => input || {};
    switch (kind) {
        case 'action':
            return (nango, input) => definition.exec(nango, given(input));
        case 'webhook':
            if (typeof definition.onWebhook !== 'function') throw new Error('Missing onWebhook function');
            return done((nango, payload) => definition.onWebhook(nango, given(payload)));
        default:
            return done((nango) => definition.exec(nango));
    }
}

/** Bundles of projects that describe their functions in nango.yaml export plain functions. */
function legacy(kind, exports, main) {
    switch (kind) {
        case 'action':
            return (nango, input) => main(nango, isEmpty(input) ? undefined : input);
        case 'webhook': {
            const handler = exports.onWebhookPayloadReceived;
            if (typeof handler !== 'function') throw new Error('Missing onWebhookPayloadReceived function');
            return done((nango, payload) => handler(nango, payload));
        }
        default:
            return done((nango) => main(nango));
    }
}

function isEmpty(input) {
    return input !== null && typeof input === 'object' && Object.keys(input).length === 0;
}

/** Only actions have an output. */
function done(run) {
    return async (nango, input) => {
        await run(nango, input);
        return true;
    };
}
