// nango.paginate: an async generator of pages, by cursor, link or offset. The provider file may describe how its API pages;
// the call overlays that.

import { SDKError } from './errors.js';
import { linkTarget } from './link.js';
import { get, set } from './path.js';

const BODY_METHODS = new Set(['POST', 'PUT', 'PATCH']);

/**
 * @param {{proxy: (config: object) => Promise<any>, context: object}} deps
 */
export function createPaginate({ proxy, context }) {
    return async function* paginate(config) {
        if (context.providerKnown === false) {
            throw new SDKError('unknown_provider_template_in_config', `provider ${context.provider} has no template`);
        }
        const rules = { ...context.providerPaginate, ...config.paginate };
        const strategy = validate(rules);
        config.method ||= 'GET'; // visible to the caller, who may reuse the object
        yield* strategy(new Pages(config, rules, proxy));
    };
}

/** The request of each page: where the paging parameters go, and what the page's list is. */
class Pages {
    constructor(config, rules, proxy) {
        this.rules = rules;
        this.proxy = proxy;
        this.config = { ...config };
        // Only the call decides between body and query, never the provider file.
        this.inBody = config.paginate?.in_body ?? BODY_METHODS.has(String(config.method).toUpperCase());
        this.values = this.inBody ? bodyObject(config) : queryObject(config);
        if (rules.limit && rules.limit_name_in_request) this.values[rules.limit_name_in_request] = rules.limit;
        this.sendsValues = true;
    }

    async fetch() {
        if (this.inBody) {
            // Dotted names reach into nested objects; rebuilt for every page.
            this.config.data = {};
            for (const [name, value] of Object.entries(this.values)) set(this.config.data, name, value);
        } else if (this.sendsValues) {
            this.config.params = this.values;
        }
        const response = await this.proxy(this.config);
        const list = this.rules.response_path ? get(response.data, this.rules.response_path) : response.data;
        return { response, list };
    }

    /** From here on the endpoint says everything: no query of ours is added. */
    follow(link) {
        if (/^https?:\/\//i.test(link)) {
            const url = new URL(link);
            this.config.baseUrlOverride = url.origin;
            this.config.endpoint = url.pathname + url.search;
        } else {
            this.config.endpoint = link;
        }
        this.sendsValues = false;
        delete this.config.params;
    }

    async tell(nextPageParam, response) {
        if (this.rules.on_page) await this.rules.on_page({ nextPageParam, response });
    }
}

function bodyObject(config) {
    config.data ??= {};
    if (typeof config.data !== 'object' || Array.isArray(config.data)) {
        throw new Error('paginate: data must be an object when the paging parameters go into the body');
    }
    return config.data;
}

function queryObject(config) {
    if (typeof config.params === 'string') return Object.fromEntries(new URLSearchParams(config.params));
    config.params ??= {};
    return config.params;
}

/** A page without a positive length (an object, a number, nothing) is the end. */
function isEmpty(list) {
    return !list || !(list.length > 0);
}

async function* byCursor(pages) {
    const { rules } = pages;
    let cursor;
    do {
        if (cursor !== undefined) pages.values[rules.cursor_name_in_request] = cursor;
        const { response, list } = await pages.fetch();
        if (isEmpty(list)) return;
        yield list;
        cursor = nextCursor(get(response.data, rules.cursor_path_in_response));
        await pages.tell(cursor, response);
    } while (cursor !== undefined);
}

function nextCursor(value) {
    if (typeof value === 'string') return value.trim() || undefined;
    return typeof value === 'number' ? value : undefined;
}

async function* byLink(pages) {
    let previous;
    for (;;) {
        const { response, list } = await pages.fetch();
        yield list; // even when empty: callers count on one page per request
        const link = nextLink(pages.rules, response);
        await pages.tell(link, response);
        if (!link || link === previous) return;
        previous = link;
        pages.follow(link);
    }
}

function nextLink(rules, response) {
    const rel = rules.link_rel_in_response_header;
    const link =
        (rel && linkTarget(response.headers.link, rel)) ||
        (rules.link_path_in_response_body && get(response.data, rules.link_path_in_response_body));
    return typeof link === 'string' && link !== '' ? link : undefined;
}

async function* byOffset(pages) {
    const { rules } = pages;
    let offset = Number(rules.offset_start_value) || 0;
    for (;;) {
        pages.values[rules.offset_name_in_request] = pages.inBody ? offset : String(offset);
        const { response, list } = await pages.fetch();
        if (isEmpty(list)) return;
        yield list;
        if (rules.limit && list.length < Number(rules.limit)) return;
        await pages.tell(offset, response); // the offset just used, not the next one
        offset += rules.offset_calculation_method === 'per-page' ? 1 : list.length;
    }
}

/** @returns the generator for the rules; throws when they can not work */
function validate(rules) {
    const need = (ok, what) => {
        if (!ok) throw new Error(`paginate: ${what}`);
    };
    need(rules.type, 'no pagination type: the provider has no pagination template, give paginate.type');
    switch (String(rules.type).toLowerCase()) {
        case 'cursor':
            need(rules.cursor_name_in_request, 'cursor_name_in_request is required for cursor pagination');
            need(rules.cursor_path_in_response, 'cursor_path_in_response is required for cursor pagination');
            need(!rules.limit || rules.limit_name_in_request, 'limit_name_in_request is required when limit is set');
            return byCursor;
        case 'link':
            need(
                rules.link_rel_in_response_header || rules.link_path_in_response_body,
                'link_rel_in_response_header or link_path_in_response_body is required for link pagination'
            );
            return byLink;
        case 'offset':
            need(rules.offset_name_in_request, 'offset_name_in_request is required for offset pagination');
            return byOffset;
        default:
            throw new Error(`Pagination type ${rules.type} is not supported`);
    }
}
