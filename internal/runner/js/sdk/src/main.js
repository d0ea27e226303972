// The bundle's entry. The host hands over its primitives as names in scope, not necessarily as globals: user code must not be
// able to call them past the facade. If they are globals, they are taken away here.

import { run } from './run.js';

/* global __host, __loadBundle, require */
const host = __host;
const vm = { call: (op, json) => host.call(op, json), loadBundle: __loadBundle, require };
Reflect.deleteProperty(globalThis, '__host');
Reflect.deleteProperty(globalThis, '__loadBundle');

Object.defineProperty(globalThis, '__run', { value: (requestJSON) => run(vm, requestJSON), configurable: true });
