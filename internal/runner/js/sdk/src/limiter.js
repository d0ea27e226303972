// Cuts a value down to what a log line or an error payload may hold, as plain JSON data.

/** Objects and lists beyond this many entries of one parent become "[...]". */
const MAX_ENTRIES = 1_000;
/** Objects and lists nested deeper become "[...]". */
const MAX_DEPTH = 10;
/** Size of the whole, as UTF-8 JSON: a log message of 100 kB must still have room for its envelope. */
const MAX_BYTES = 99_000;

const CUT = '[...]';
const TRUNCATED = '... (truncated)';
/** Noise, or a way to credentials (HTTP agents hold sockets and TLS sessions). `__proto__` can not be copied safely. */
const DROPPED_KEYS = new Set(['stack', 'trace', 'httpAgent', 'httpsAgent', '_sessionCache', '__proto__']);

/**
 * @param {unknown} value
 * @returns {any} JSON data with sorted keys, at most MAX_BYTES long
 */
export function limit(value) {
    return fit(copy(value, 0, []), MAX_BYTES);
}

/** Deterministic text of any value: sorted keys, cycles marked. */
export function stableStringify(value) {
    const plain = copy(value, 0, []);
    return plain === undefined ? String(value) : JSON.stringify(plain);
}

/** @param {string} text @param {number} [maxBytes] */
export function truncateText(text, maxBytes = MAX_BYTES) {
    // A UTF-16 unit takes at most 3 bytes, so most texts need no count.
    if (text.length * 3 <= maxBytes || byteLength(text) <= maxBytes) return text;
    const cut = Buffer.from(text.slice(0, maxBytes), 'utf8').subarray(0, maxBytes).toString('utf8');
    return cut.replace(/\ufffd+$/, '') + TRUNCATED;
}

function byteLength(text) {
    return Buffer.byteLength(text, 'utf8');
}

function copy(value, depth, parents) {
    if (typeof value === 'bigint') return String(value);
    if (typeof value === 'number') return Number.isFinite(value) ? value : null;
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
    if (typeof value !== 'object') return undefined;
    if (parents.includes(value)) return '[Circular]';
    if (Buffer.isBuffer(value)) return `[Buffer: ${value.length} bytes]`;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
    if (depth > MAX_DEPTH) return CUT;
    const inner = [...parents, value];
    if (Array.isArray(value)) {
        return value.map((item, i) => (i >= MAX_ENTRIES && isTree(item) ? CUT : (copy(item, depth + 1, inner) ?? null)));
    }
    const source = value instanceof Error && typeof value.toJSON !== 'function' ? errorFields(value) : unwrapped(value);
    if (!isTree(source) || Array.isArray(source)) return copy(source, depth, inner);
    const out = {};
    Object.keys(source)
        .sort()
        .forEach((key, i) => {
            if (DROPPED_KEYS.has(key)) return;
            if (key.toLowerCase() === 'authorization') {
                out[key] = '[Redacted]';
                return;
            }
            const item = source[key];
            const kept = i >= MAX_ENTRIES && isTree(item) ? CUT : copy(item, depth + 1, inner);
            if (kept !== undefined) out[key] = kept;
        });
    return out;
}

function isTree(value) {
    return value !== null && typeof value === 'object';
}

function unwrapped(value) {
    return typeof value.toJSON === 'function' ? value.toJSON() : value;
}

/** An Error's own enumerable properties hold neither name nor message. */
function errorFields(err) {
    return { ...err, name: err.name, message: err.message };
}

/** Largest entries go first; what goes is removed whole, except that a text is cut and a tree is thinned when that helps. */
function fit(value, budget) {
    const size = jsonSize(value);
    if (size <= budget) return value;
    if (typeof value === 'string') {
        // Escaping makes JSON text up to six times longer than the text itself.
        for (let bytes = budget - TRUNCATED.length - 2; bytes > 0; bytes = Math.floor(bytes / 2)) {
            const kept = truncateText(value, bytes);
            if (jsonSize(kept) <= budget) return kept;
        }
        return CUT;
    }
    if (!isTree(value)) return CUT;
    const isList = Array.isArray(value);
    const bySize = Object.keys(value)
        .map((key) => ({ key, size: jsonSize(value[key]) + (isList ? 1 : jsonSize(key) + 2) }))
        .sort((a, b) => a.size - b.size);
    const kept = new Map();
    let left = budget - 2;
    for (const { key, size: entry } of bySize) {
        if (entry <= left) {
            kept.set(key, value[key]);
            left -= entry;
            continue;
        }
        const overhead = entry - jsonSize(value[key]);
        // Less than this is not worth keeping a fragment for.
        if (left - overhead < 100) continue;
        const part = fit(value[key], left - overhead);
        kept.set(key, part);
        left -= jsonSize(part) + overhead;
    }
    const keys = Object.keys(value).filter((key) => kept.has(key));
    return isList ? keys.map((key) => kept.get(key)) : Object.fromEntries(keys.map((key) => [key, kept.get(key)]));
}

function jsonSize(value) {
    return byteLength(JSON.stringify(value));
}
