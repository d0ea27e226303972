// The bundle's entry. The host's primitives are parameters of the function around this script, not globals: user code can not
// call them past the facade.

import { run } from './run.js';

/* global __host, __loadBundle, require */
const host = __host;
const vm = { call: (op, json) => host.call(op, json), loadBundle: __loadBundle, require };

Object.defineProperty(globalThis, '__run', { value: (requestJSON) => run(vm, requestJSON), configurable: true });
