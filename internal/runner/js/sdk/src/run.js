// One run: from the request text to the result text (ops.md §2, §3).

import { Host } from './host.js';
import { inspect } from './inspect.js';
import { entryPoint, load } from './load.js';
import { createNango } from './nango.js';
import { toResultError } from './result.js';

/**
 * @param {{call: (op: string, json: string) => Promise<string>, loadBundle: (code: string, name: string) => any, require: (name: string) => any}} vm
 * @param {string} requestJSON
 * @returns {Promise<string>} never rejects
 */
export async function run(vm, requestJSON) {
    let file = '';
    try {
        const request = JSON.parse(requestJSON);
        file = request.bundle.name;
        const output = request.kind === 'inspect' ? describe(vm, request) : await execute(vm, request);
        return `{"ok":true,"output":${output}}`;
    } catch (err) {
        return JSON.stringify({ ok: false, error: describeFailure(err, file) });
    }
}

/** A thrown object may have getters that throw as well. */
function describeFailure(err, file) {
    try {
        return toResultError(err, file);
    } catch {
        const message = 'The function threw a value that can not be described';
        return { type: 'script_internal_error', payload: { name: 'Error', message } };
    }
}

function describe(vm, request) {
    return JSON.stringify(inspect(load(vm.loadBundle, request.bundle), request.context ?? {}, vm.require));
}

async function execute(vm, request) {
    const { kind, bundle, context = {} } = request;
    const host = new Host(vm.call);
    const entry = entryPoint(kind, load(vm.loadBundle, bundle), bundle.sdkVersion);
    const nango = createNango(kind, context, host);
    let output;
    try {
        output = await entry(nango, request.input);
    } finally {
        if (host.pending > 0) warnUnfinished(host, nango);
    }
    return JSON.stringify(output) ?? 'null';
}

/** Not awaited: the result does not wait for work the function itself did not wait for. */
function warnUnfinished(host, nango) {
    const calls = host.pending === 1 ? '1 call' : `${host.pending} calls`;
    nango.log(`The function ended with ${calls} still running: await every nango call, or its outcome is lost`, { level: 'warn' });
}
