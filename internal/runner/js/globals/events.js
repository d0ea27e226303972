// events.js is EventTarget, Event, AbortController, AbortSignal and DOMException: enough for code that passes signals around.
(function () {
  'use strict';

  const { Map, Error, Object, String, TypeError, Date } = globalThis;

  const CODES = { InvalidCharacterError: 5, NotSupportedError: 9, SyntaxError: 12, TypeMismatchError: 17, AbortError: 20, QuotaExceededError: 22, TimeoutError: 23, DataCloneError: 25 };

  class DOMException extends Error {
    #name;
    constructor(message = '', options = 'Error') {
      super(String(message));
      this.#name = String(typeof options === 'object' && options !== null ? (options.name ?? 'Error') : options);
      if (typeof options === 'object' && options !== null && 'cause' in options) {
        Object.defineProperty(this, 'cause', { value: options.cause, writable: true, configurable: true, enumerable: false });
      }
    }
    get name() {
      return this.#name;
    }
    get code() {
      return CODES[this.#name] ?? 0;
    }
  }

  let aim; // (event, target): only Event sees its own fields
  const stopped = new WeakSet();

  class Event {
    #type;
    #options;
    #target = null;
    #prevented = false;
    #time = Date.now();

    constructor(type, options = {}) {
      if (arguments.length === 0) throw new TypeError('The "type" argument must be specified');
      this.#type = String(type);
      this.#options = options ?? {};
    }
    get type() {
      return this.#type;
    }
    get target() {
      return this.#target;
    }
    get currentTarget() {
      return this.#target;
    }
    get bubbles() {
      return Boolean(this.#options.bubbles);
    }
    get cancelable() {
      return Boolean(this.#options.cancelable);
    }
    get defaultPrevented() {
      return this.#prevented;
    }
    get timeStamp() {
      return this.#time;
    }
    preventDefault() {
      if (this.cancelable) this.#prevented = true;
    }
    stopPropagation() {}
    stopImmediatePropagation() {
      stopped.add(this);
    }
    static {
      aim = (event, target) => {
        event.#target = target;
      };
    }
  }

  class EventTarget {
    #listeners = new Map(); // type → [{callback, once}]

    addEventListener(type, callback, options) {
      if (callback === null || callback === undefined) return;
      const signal = options?.signal;
      if (signal?.aborted) return;
      const list = this.#listeners.get(String(type)) ?? [];
      if (list.some((l) => l.callback === callback)) return;
      list.push({ callback, once: Boolean(options?.once) });
      this.#listeners.set(String(type), list);
      signal?.addEventListener('abort', () => this.removeEventListener(type, callback), { once: true });
    }
    removeEventListener(type, callback) {
      const list = this.#listeners.get(String(type));
      if (list) this.#listeners.set(String(type), list.filter((l) => l.callback !== callback));
    }
    dispatchEvent(event) {
      if (!(event instanceof Event)) throw new TypeError('The "event" argument must be an instance of Event');
      aim(event, this);
      for (const { callback, once } of this.#listeners.get(event.type) ?? []) {
        if (stopped.has(event)) break;
        if (once) this.removeEventListener(event.type, callback);
        report(() => (typeof callback === 'function' ? callback.call(this, event) : callback.handleEvent(event)));
      }
      const handler = this['on' + event.type];
      if (typeof handler === 'function') report(() => handler.call(this, event));
      return !event.defaultPrevented;
    }
  }

  // What a listener throws does not reach the one who dispatches: it ends the run, as an uncaught exception would.
  const report = (call) => {
    try {
      call();
    } catch (e) {
      setImmediate(() => {
        throw e;
      });
    }
  };

  let make = false;
  let abort;

  class AbortSignal extends EventTarget {
    #aborted = false;
    #reason = undefined;
    constructor() {
      if (!make) throw Object.assign(new TypeError('Illegal constructor'), { code: 'ERR_ILLEGAL_CONSTRUCTOR' });
      super();
      this.onabort = null;
    }
    get aborted() {
      return this.#aborted;
    }
    get reason() {
      return this.#reason;
    }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }
    static {
      abort = (signal, reason) => {
        if (signal.#aborted) return;
        signal.#aborted = true;
        signal.#reason = reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason;
        signal.dispatchEvent(new Event('abort'));
      };
    }
    static abort(reason) {
      const s = signal();
      abort(s, reason);
      return s;
    }
    static timeout(ms) {
      const s = signal();
      setTimeout(() => abort(s, new DOMException('The operation was aborted due to timeout', 'TimeoutError')), ms);
      return s;
    }
    static any(signals) {
      const s = signal();
      for (const other of signals) {
        if (other.aborted) {
          abort(s, other.reason);
          break;
        }
        other.addEventListener('abort', () => abort(s, other.reason), { once: true });
      }
      return s;
    }
  }

  const signal = () => {
    make = true;
    try {
      return new AbortSignal();
    } finally {
      make = false;
    }
  };

  class AbortController {
    #signal = signal();
    get signal() {
      return this.#signal;
    }
    abort(reason) {
      abort(this.#signal, reason);
    }
  }

  for (const [name, Class] of Object.entries({ Event, EventTarget, AbortController, AbortSignal, DOMException })) {
    Object.defineProperty(Class.prototype, Symbol.toStringTag, { value: name, configurable: true });
  }
  return { DOMException, Event, EventTarget, AbortController, AbortSignal };
})
