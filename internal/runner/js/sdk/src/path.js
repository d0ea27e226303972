// Property paths as function authors know them from lodash: `data.items[0].id`, `["a.b"]`, and a key that itself holds dots.

/**
 * @param {string} path
 * @returns {string[]}
 */
function parse(path) {
    const keys = [];
    let key = '';
    let open = true; // a key is being collected, so an empty one counts (`a..b`)
    for (let i = 0; i < path.length; i++) {
        const c = path[i];
        if (c === '.') {
            if (open) keys.push(key);
            key = '';
            open = true;
        } else if (c === '[') {
            if (key !== '') keys.push(key);
            key = '';
            const quote = path[i + 1];
            const quotes = quote === '"' || quote === "'";
            const end = path.indexOf(quotes ? `${quote}]` : ']', i + (quotes ? 2 : 1));
            if (end === -1) {
                key = path.slice(i + 1);
                open = key !== '';
                break;
            }
            keys.push(path.slice(i + (quotes ? 2 : 1), end));
            i = end + (quotes ? 1 : 0);
            open = false;
        } else {
            key += c;
            open = true;
        }
    }
    if (open) keys.push(key);
    return keys;
}

/** A text that is a key of the object is that key, dots and all (`@odata.nextLink`). */
function keysFor(object, path) {
    const text = String(path);
    if (!/[.[\]]/.test(text)) return [text];
    if (object !== null && object !== undefined && text in Object(object)) return [text];
    return parse(text);
}

/**
 * @param {any} object
 * @param {string | number} path
 * @returns {any} undefined when any step is missing
 */
export function get(object, path) {
    let value = object;
    for (const key of keysFor(object, path)) {
        if (value === null || value === undefined) return undefined;
        value = value[key];
    }
    return value;
}

/**
 * Writes value at path, making objects on the way, and lists where the next key is an index.
 * @param {any} object
 * @param {string} path
 * @param {any} value
 */
export function set(object, path, value) {
    const keys = keysFor(object, path);
    if (keys.some((key) => key === '__proto__' || key === 'constructor' || key === 'prototype')) return object;
    let node = object;
    for (let i = 0; i < keys.length - 1; i++) {
        const child = node[keys[i]];
        if (child === null || (typeof child !== 'object' && typeof child !== 'function')) {
            node[keys[i]] = /^(?:0|[1-9]\d*)$/.test(keys[i + 1]) ? [] : {};
        }
        node = node[keys[i]];
    }
    node[keys[keys.length - 1]] = value;
    return object;
}
