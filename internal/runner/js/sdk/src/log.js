// nango.log and the run's log threshold.

import { limit, stableStringify, truncateText } from './limiter.js';

const ORDER = ['debug', 'info', 'warn', 'error', 'off'];
const LEGACY_LEVELS = { verbose: 'debug', silly: 'debug', http: 'info' };
const DEFAULT_LEVEL = 'info';

/**
 * @param {{host: import('./host.js').Host, context: object, logger: {level: string}}} deps
 *   logger is the object user code sees as `nango.logger`
 */
export function createLog({ host, context, logger }) {
    let threshold = ORDER.includes(context.loggerLevel) ? context.loggerLevel : DEFAULT_LEVEL;
    logger.level = threshold;

    async function log(...args) {
        const { values, level } = split(args);
        if (ORDER.indexOf(level) < ORDER.indexOf(threshold)) return;
        try {
            const message = truncateText(typeof values[0] === 'string' ? values[0] : stableStringify(values[0]));
            const meta = toMeta(values.slice(1));
            await host.call('log', { level, message, meta });
        } catch {
            // A function must not fail because its log line did.
        }
    }

    function setLogger(options) {
        // `off` is the host's decision (a quota), not the function's.
        if (threshold === 'off' || !ORDER.includes(options?.level)) return;
        threshold = options.level;
        logger.level = threshold;
    }

    return { log, setLogger };
}

/** A last argument that has a `level` is the options; alone, it is the message as well. */
function split(args) {
    const last = args.at(-1);
    if (last === null || typeof last !== 'object' || !('level' in last)) return { values: args, level: DEFAULT_LEVEL };
    const asked = LEGACY_LEVELS[last.level] ?? last.level;
    const level = asked !== 'off' && ORDER.includes(asked) ? asked : DEFAULT_LEVEL;
    return { values: args.length > 1 ? args.slice(0, -1) : args, level };
}

/** Meta is an object: one object stays itself, anything else is keyed by position. */
function toMeta(rest) {
    if (rest.length === 0 || (rest.length === 1 && (rest[0] === undefined || rest[0] === null))) return undefined;
    const value = rest.length === 1 && typeof rest[0] === 'object' ? rest[0] : rest;
    const meta = limit(Array.isArray(value) ? { ...value } : value);
    return meta !== null && typeof meta === 'object' ? meta : { 0: meta };
}
