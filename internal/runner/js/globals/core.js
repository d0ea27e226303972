// core.js runs in every machine: the promise side of host calls, timers, require, and the globals that load on first use.
//
// fetch(name) is the bytecode of a built-in module as a function, or of the user's bundle for 'bundle'. The result of this
// file is what the Go side and the SDK use: none of it is a global.
(function (native, fetch) {
  'use strict';

  const { Promise, Map, Error, TypeError, String, Number, Object, JSON } = globalThis;
  delete globalThis.native;
  delete globalThis.fetch;
  const parse = JSON.parse;
  const stringify = JSON.stringify;

  // --- host calls -----------------------------------------------------------------------------------------------------

  const waiting = new Map(); // call id → [resolve, reject]
  let lastCall = 0;

  const hostError = (text) => {
    const e = new Error();
    let detail;
    try {
      detail = parse(text);
    } catch {
      detail = { code: 'host_error', message: text };
    }
    Object.defineProperty(e, 'hostError', { value: detail, enumerable: false });
    e.message = detail?.message ?? '';
    return e;
  };

  const host = Object.freeze({
    call(op, json) {
      return new Promise((resolve, reject) => {
        const id = ++lastCall;
        native('call', id, String(op), json === undefined ? '{}' : String(json));
        waiting.set(id, [resolve, reject]);
      });
    },
    // Arguments and result are JSON: an array of strings in, one value out.
    callSync(op, json) {
      return stringify(native(String(op), ...parse(json)));
    },
  });

  const deliver = (id, ok, text) => {
    const entry = waiting.get(id);
    if (!entry) return;
    waiting.delete(id);
    if (ok) entry[0](text);
    else entry[1](hostError(text));
  };

  // --- timers ---------------------------------------------------------------------------------------------------------

  const timers = new Map(); // id → Timeout
  let lastTimer = 0;

  class Timeout {
    #id;
    constructor(id) {
      this.#id = id;
    }
    ref() {
      return this;
    }
    unref() {
      return this;
    }
    hasRef() {
      return true;
    }
    refresh() {
      const t = timers.get(this.#id);
      if (t) native('timer', this.#id, t.delay);
      return this;
    }
    close() {
      clear(this.#id);
      return this;
    }
    [Symbol.toPrimitive]() {
      return this.#id;
    }
  }

  const start = (fn, delay, args, repeat) => {
    if (typeof fn !== 'function') throw new TypeError('The "callback" argument must be of type function. Received ' + String(fn));
    let ms = Number(delay);
    if (!(ms >= 1 && ms <= 2147483647)) ms = 1; // as Node does, also for NaN and overflow
    if (delay === null) ms = 0;
    const id = ++lastTimer;
    native('timer', id, ms);
    const handle = new Timeout(id);
    timers.set(id, { fn, args, delay: ms, repeat, handle });
    return handle;
  };

  const clear = (handle) => {
    const id = typeof handle === 'object' && handle !== null ? handle[Symbol.toPrimitive]?.() : Number(handle);
    if (timers.delete(id)) native('untimer', id);
  };

  const fire = (id) => {
    const t = timers.get(id);
    if (!t) return;
    if (t.repeat) native('timer', id, t.delay);
    else timers.delete(id);
    t.fn.apply(t.handle, t.args);
  };

  // --- modules --------------------------------------------------------------------------------------------------------

  const loaded = Object.create(null);

  const fetched = (name) => {
    const fn = fetch(name);
    if (!fn) throw new Error(native('fault'));
    return fn;
  };

  const commonJS = (fn) => {
    const module = { exports: {} };
    fn.call(module.exports, module.exports, require, module);
    return module.exports;
  };

  const load = (name) => {
    if (!(name in loaded)) loaded[name] = name === 'zod' ? commonJS(fetched(name)) : fetched(name)(native, load);
    return loaded[name];
  };

  const typed = (type) => (definition) => ({ type, ...definition });

  const modules = Object.assign(Object.create(null), {
    crypto: () => load('crypto').module,
    url: () => load('url').module,
    buffer: () => load('buffer').module,
    zod: () => load('zod'),
    nango: () => ({ createSync: typed('sync'), createAction: typed('action'), createOnEvent: typed('onEvent') }),
  });
  for (const name of ['crypto', 'url', 'buffer']) modules['node:' + name] = modules[name];

  function require(name) {
    const make = modules[String(name)];
    if (!make) throw new Error("Module '" + String(name) + "' is not allowed");
    return make();
  }

  // A run has one bundle, so the text and the file name that the SDK passes are not needed.
  const bundle = () => commonJS(fetched('bundle'));

  // --- globals --------------------------------------------------------------------------------------------------------

  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  const lazy = (name, make) =>
    Object.defineProperty(globalThis, name, {
      configurable: true,
      enumerable: false,
      get() {
        const value = make();
        define(name, value);
        return value;
      },
      set(value) {
        define(name, value);
      },
    });

  const lazyFrom = (module, names) => {
    for (const name of names) lazy(name, () => load(module)[name]);
  };

  lazyFrom('buffer', ['Buffer']);
  lazyFrom('url', ['URL', 'URLSearchParams']);
  lazyFrom('encoding', ['TextEncoder', 'TextDecoder', 'atob', 'btoa']);
  lazyFrom('events', ['EventTarget', 'Event', 'AbortController', 'AbortSignal', 'DOMException']);
  lazyFrom('clone', ['structuredClone']);
  lazy('crypto', () => load('crypto').webcrypto);

  define('setTimeout', (fn, delay, ...args) => start(fn, delay, args, false));
  define('setInterval', (fn, delay, ...args) => start(fn, delay, args, true));
  define('setImmediate', (fn, ...args) => start(fn, null, args, false));
  define('clearTimeout', clear);
  define('clearInterval', clear);
  define('clearImmediate', clear);
  const resolved = Promise.resolve();
  const then = Promise.prototype.then;
  define('queueMicrotask', (fn) => {
    if (typeof fn !== 'function') throw new TypeError('The "callback" argument must be of type function. Received ' + String(fn));
    then.call(resolved, () => {
      fn();
    });
  });

  const silent = () => {};
  const console = {};
  for (const name of [
    'log', 'info', 'warn', 'error', 'debug', 'trace', 'dir', 'dirxml', 'table', 'group', 'groupCollapsed', 'groupEnd',
    'time', 'timeEnd', 'timeLog', 'assert', 'count', 'countReset', 'clear',
  ]) console[name] = silent;
  define('console', console);

  // --- what the engine has differently from Node ------------------------------------------------------------------------

  Object.defineProperty(Error, 'captureStackTrace', {
    value: function captureStackTrace(target) {
      const { stack } = new Error();
      const value = stack.slice(stack.indexOf('\n') + 1); // without this function's own line
      Object.defineProperty(target, 'stack', { value, writable: true, configurable: true, enumerable: false });
    },
    writable: true,
    configurable: true,
    enumerable: false,
  });
  Error.stackTraceLimit = 10;

  // Intl and the locale-aware formatters arrive together, when one of them is first used.
  const formatters = [
    [Date.prototype, ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString']],
    [Number.prototype, ['toLocaleString']],
    [BigInt.prototype, ['toLocaleString']],
  ];
  const plain = formatters.map(([proto, names]) => [proto, names.map((n) => [n, Object.getOwnPropertyDescriptor(proto, n)])]);
  const installIntl = () => {
    for (const [proto, names] of plain) {
      for (const [n, d] of names) {
        if (d) Object.defineProperty(proto, n, d);
        else delete proto[n];
      }
    }
    delete globalThis.Intl;
    native('intl');
    return globalThis.Intl;
  };
  for (const [proto, names] of formatters) {
    for (const name of names) {
      Object.defineProperty(proto, name, {
        value: function (...args) {
          installIntl();
          return this[name](...args);
        },
        writable: true,
        configurable: true,
        enumerable: false,
      });
    }
  }
  lazy('Intl', installIntl);

  Object.defineProperty(String.prototype, 'localeCompare', {
    value: function localeCompare(that, locales, options) {
      if (this === undefined || this === null) throw new TypeError('String.prototype.localeCompare called on null or undefined');
      return load('collate').compare(String(this), String(that), options);
    },
    writable: true,
    configurable: true,
    enumerable: false,
  });

  // --- the run ----------------------------------------------------------------------------------------------------------

  const describe = (reason) => {
    try {
      if (reason instanceof Error) return String(reason.name) + ': ' + String(reason.message);
      return typeof reason === 'object' ? (stringify(reason) ?? 'undefined') : String(reason);
    } catch {
      return 'a value that can not be shown';
    }
  };

  let main = null;
  const adopt = () => {
    main = globalThis.__run;
    delete globalThis.__run;
    return typeof main === 'function';
  };
  const run = (request) => {
    then.call(
      then.call(resolved, () => main(request)),
      (text) => {
        native('result', String(text));
      },
      (reason) => {
        native('failed', describe(reason));
      },
    );
  };

  return { host, bundle, require, load, deliver, fire, adopt, run, describe };
})
