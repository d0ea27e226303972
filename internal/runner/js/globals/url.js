// url.js is URL (parsed in Go), URLSearchParams, and what is left of Node's url module.
(function (native, load) {
  'use strict';

  const { Object, String, Array, Symbol, TypeError, encodeURIComponent, decodeURIComponent } = globalThis;

  // --- application/x-www-form-urlencoded --------------------------------------------------------------------------------

  const escapes = { '!': '%21', "'": '%27', '(': '%28', ')': '%29', '~': '%7E', '%20': '+' };
  const escape = (text) => encodeURIComponent(text.toWellFormed()).replace(/[!'()~]|%20/g, (c) => escapes[c]);

  const unescape = (text) => {
    if (!/[%+]/.test(text)) return text;
    try {
      return decodeURIComponent(text.replaceAll('+', ' '));
    } catch {
      return native('url.form', text); // a stray "%" or broken UTF-8
    }
  };

  const parse = (query) => {
    const pairs = [];
    for (const part of query.split('&')) {
      if (part === '') continue;
      const at = part.indexOf('=');
      pairs.push(at < 0 ? [unescape(part), ''] : [unescape(part.slice(0, at)), unescape(part.slice(at + 1))]);
    }
    return pairs;
  };

  const text = (value) => {
    if (typeof value === 'symbol') throw new TypeError('Cannot convert a Symbol value to a string');
    return String(value).toWellFormed();
  };

  const needs = (given, names) => {
    if (given < names.length) {
      const e = new TypeError(`The ${names.map((n) => `"${n}"`).join(' and ')} argument${names.length > 1 ? 's' : ''} must be specified`);
      e.code = 'ERR_MISSING_ARGS';
      throw e;
    }
  };

  let attach; // (params, url, query): only URLSearchParams sees its own fields
  let reload; // (params, query)

  class URLSearchParams {
    #pairs = [];
    #url = null;

    constructor(init) {
      if (init === undefined || init === null) return;
      if (typeof init !== 'object' && typeof init !== 'function') {
        const query = text(init);
        this.#pairs = parse(query[0] === '?' ? query.slice(1) : query);
        return;
      }
      const iterate = init[Symbol.iterator];
      if (iterate !== undefined && iterate !== null) {
        for (const pair of init) {
          const items = typeof pair === 'object' && pair !== null ? [...pair] : null;
          if (!items || items.length !== 2) {
            const e = new TypeError('Each query pair must be an iterable [name, value] tuple');
            e.code = 'ERR_INVALID_TUPLE';
            throw e;
          }
          this.#pairs.push([text(items[0]), text(items[1])]);
        }
        return;
      }
      for (const key of Reflect.ownKeys(init)) {
        const d = Object.getOwnPropertyDescriptor(init, key);
        if (!d?.enumerable) continue;
        const name = text(key);
        const known = this.#pairs.find((p) => p[0] === name);
        if (known) known[1] = text(init[key]);
        else this.#pairs.push([name, text(init[key])]);
      }
    }

    static {
      attach = (params, url, query) => {
        params.#url = url;
        params.#pairs = parse(query);
      };
      reload = (params, query) => {
        params.#pairs = parse(query);
      };
    }

    #changed() {
      if (this.#url) update(this.#url, this.toString());
    }

    get size() {
      return this.#pairs.length;
    }
    append(name, value) {
      needs(arguments.length, ['name', 'value']);
      this.#pairs.push([text(name), text(value)]);
      this.#changed();
    }
    delete(name, value) {
      needs(arguments.length, ['name']);
      const n = text(name);
      const v = value === undefined ? undefined : text(value);
      this.#pairs = this.#pairs.filter((p) => p[0] !== n || (v !== undefined && p[1] !== v));
      this.#changed();
    }
    get(name) {
      needs(arguments.length, ['name']);
      const n = text(name);
      const found = this.#pairs.find((p) => p[0] === n);
      return found ? found[1] : null;
    }
    getAll(name) {
      needs(arguments.length, ['name']);
      const n = text(name);
      return this.#pairs.filter((p) => p[0] === n).map((p) => p[1]);
    }
    has(name, value) {
      needs(arguments.length, ['name']);
      const n = text(name);
      const v = value === undefined ? undefined : text(value);
      return this.#pairs.some((p) => p[0] === n && (v === undefined || p[1] === v));
    }
    set(name, value) {
      needs(arguments.length, ['name', 'value']);
      const n = text(name);
      const first = this.#pairs.find((p) => p[0] === n);
      if (first) {
        first[1] = text(value);
        this.#pairs = this.#pairs.filter((p) => p === first || p[0] !== n);
      } else this.#pairs.push([n, text(value)]);
      this.#changed();
    }
    sort() {
      this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)); // by code unit, and stable
      this.#changed();
    }
    forEach(callback, thisArg) {
      if (typeof callback !== 'function') throw new TypeError('The "callback" argument must be of type function');
      for (const [name, value] of this) callback.call(thisArg, value, name, this);
    }
    // By index: entries that are added while iterating are seen.
    *entries() {
      for (let i = 0; i < this.#pairs.length; i++) yield [this.#pairs[i][0], this.#pairs[i][1]];
    }
    *keys() {
      for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][0];
    }
    *values() {
      for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][1];
    }
    toString() {
      return this.#pairs.map(([name, value]) => escape(name) + '=' + escape(value)).join('&');
    }
  }
  Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, { value: URLSearchParams.prototype.entries, writable: true, configurable: true });
  Object.defineProperty(URLSearchParams.prototype, Symbol.toStringTag, { value: 'URLSearchParams', configurable: true });

  // --- URL --------------------------------------------------------------------------------------------------------------

  const PARTS = ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'];
  const index = Object.fromEntries(PARTS.map((name, i) => [name, i]));

  const resolve = (input, base) => (base === undefined ? native('url.parse', input) : native('url.parse', input, text(base), 'base'));
  const invalid = (input, base) => {
    const e = new TypeError('Invalid URL');
    e.code = 'ERR_INVALID_URL';
    e.input = input;
    if (base !== undefined) e.base = String(base);
    return e;
  };

  let update; // (url, query): only URL sees its own fields

  class URL {
    #parts;
    #params = null;

    constructor(input, base) {
      needs(arguments.length, ['url']);
      const given = text(input);
      const found = resolve(given, base);
      if (found === null) throw invalid(given, base);
      this.#parts = found.split('\n');
    }

    static {
      update = (url, query) => {
        url.#parts = native('url.set', url.#parts[0], 'search', query).split('\n');
      };
      for (const name of PARTS) {
        const at = index[name];
        const property = {
          configurable: true,
          enumerable: true,
          get() {
            return this.#parts[at];
          },
        };
        if (name === 'href') {
          property.set = function (value) {
            const found = native('url.parse', text(value));
            if (found === null) throw invalid(text(value));
            this.#parts = found.split('\n');
            this.#refresh();
          };
        } else if (name !== 'origin') {
          property.set = function (value) {
            this.#parts = native('url.set', this.#parts[0], name, text(value)).split('\n');
            if (name === 'search') this.#refresh();
          };
        }
        Object.defineProperty(URL.prototype, name, property);
      }
    }

    #refresh() {
      if (this.#params) reload(this.#params, this.#parts[index.search].slice(1));
    }

    get searchParams() {
      if (!this.#params) {
        this.#params = new URLSearchParams();
        attach(this.#params, this, this.#parts[index.search].slice(1));
      }
      return this.#params;
    }

    toString() {
      return this.#parts[0];
    }
    toJSON() {
      return this.#parts[0];
    }

    static canParse(input, base) {
      needs(arguments.length, ['url']);
      return resolve(text(input), base) !== null;
    }
    static parse(input, base) {
      return URL.canParse(input, base) ? new URL(input, base) : null;
    }
  }
  for (const name of ['searchParams', 'toString', 'toJSON']) {
    Object.defineProperty(URL.prototype, name, { ...Object.getOwnPropertyDescriptor(URL.prototype, name), enumerable: true });
  }
  Object.defineProperty(URL.prototype, Symbol.toStringTag, { value: 'URL', configurable: true });

  // --- Node's older functions -------------------------------------------------------------------------------------------

  const FIELDS = ['protocol', 'slashes', 'auth', 'host', 'port', 'hostname', 'hash', 'search', 'query', 'pathname', 'path', 'href'];
  function Url() {
    for (const f of FIELDS) this[f] = null;
  }
  Url.prototype.format = function () {
    return format(this);
  };

  // Reads a URL or a part of one without the standard's rules: what is missing is null.
  const legacyParse = (input, parseQuery = false) => {
    if (typeof input !== 'string') throw new TypeError(`The "url" argument must be of type string. Received ${typeof input}`);
    const out = new Url();
    const [, protocol, slashes, authority, path, search, hash] = /^([a-z][a-z0-9.+-]*:)?(?:(\/\/)([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?$/is.exec(input.trim());
    if (protocol) out.protocol = protocol.toLowerCase();
    if (slashes) {
      out.slashes = true;
      const at = authority.lastIndexOf('@');
      if (at >= 0) out.auth = decodeURIComponent(authority.slice(0, at));
      const [, hostname, port] = /^(.*?)(?::([0-9]*))?$/s.exec(authority.slice(at + 1));
      out.hostname = hostname.toLowerCase().replace(/^\[(.*)\]$/, '$1');
      out.port = port || null;
      out.host = hostname.toLowerCase() + (port ? ':' + port : '');
    }
    out.pathname = path || (slashes && /^(https?|ftp|file|wss?):$/.test(out.protocol ?? '') ? '/' : null);
    out.search = search ?? (parseQuery ? '' : null);
    out.query = parseQuery ? Object.fromEntries(new URLSearchParams(search ?? '')) : (search?.slice(1) ?? null);
    out.hash = hash ?? null;
    out.path = out.pathname === null && !out.search ? null : (out.pathname ?? '') + (out.search ?? '');
    out.href = format(out);
    return out;
  };

  const format = (value, options) => {
    if (typeof value === 'string') return legacyParse(value).href;
    if (value instanceof URL) {
      const copy = new URL(value.href);
      if (options?.fragment === false) copy.hash = '';
      if (options?.search === false) copy.search = '';
      if (options?.auth === false) copy.username = copy.password = '';
      return copy.href;
    }
    let protocol = value.protocol ?? '';
    if (protocol && !protocol.endsWith(':')) protocol += ':';
    const auth = value.auth ? encodeURIComponent(value.auth).replace(/%3A/i, ':') + '@' : '';
    let host = value.host ?? (value.hostname ? (value.hostname.includes(':') ? `[${value.hostname}]` : value.hostname) + (value.port ? ':' + value.port : '') : null);
    let pathname = value.pathname ?? '';
    const slashes = value.slashes || /^(https?|ftp|file|wss?):$/.test(protocol);
    let search = value.search ?? (value.query && typeof value.query === 'object' ? String(new URLSearchParams(value.query)).replaceAll('+', '%20') : '');
    if (search && search[0] !== '?') search = '?' + search;
    let hash = value.hash ?? '';
    if (hash && hash[0] !== '#') hash = '#' + hash;
    if (slashes && host !== null) {
      if (pathname && pathname[0] !== '/') pathname = '/' + pathname;
      host = '//' + auth + host;
    } else host = host === null ? '' : auth + host;
    return protocol + host + pathname.replace(/[?#]/g, encodeURIComponent) + search.replaceAll('#', '%23') + hash;
  };

  const legacyResolve = (from, to) => {
    const base = new URL(to, new URL(from, 'resolve://here'));
    if (base.protocol !== 'resolve:') return base.href;
    return base.pathname + base.search + base.hash; // both were relative
  };

  const module = {
    URL,
    URLSearchParams,
    Url,
    parse: legacyParse,
    format,
    resolve: legacyResolve,
    domainToASCII: (domain) => URL.parse(`http://${domain}`)?.hostname ?? '',
  };
  module.default = module;
  return { URL, URLSearchParams, module };
})
