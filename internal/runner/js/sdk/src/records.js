// The records API of syncs and webhook handlers.

import { isCancellation, renamed } from './errors.js';

/** Records per request: one transaction of the host, which also drops duplicate ids within one request only. */
const BATCH_SIZE = 1_000;
/** Text per request, in UTF-16 units, unless a single record is larger: a thousand big records must fit the VM's memory. */
const BATCH_TEXT = 8_000_000;
/** Ids per look-up, and records per page when listing. */
const PAGE_SIZE = 100;

/**
 * @param {{host: import('./host.js').Host, log: (...args: any[]) => Promise<void>}} deps
 */
export function createRecords({ host, log }) {
    const written = new Set(); // models that had a batch call
    const merging = new Set(); // models that have their strategy

    async function batch(op, verb, records, model) {
        if (!records || records.length === 0) return true;
        if (!Array.isArray(records)) throw new TypeError(`${verb} ${model}: records must be an array`);
        written.add(model);
        const head = `{"model":${JSON.stringify(String(model))},"records":[`;
        for (const list of requestTexts(records)) {
            try {
                await host.callText(op, `${head}${list}]}`);
            } catch (err) {
                if (isCancellation(err)) throw err;
                throw renamed(err, `Failed to ${verb} records: ${err?.message}`);
            }
        }
        return true;
    }

    const batchSave = (records, model) => batch('records.save', 'save', records, model);

    async function getRecordsByIds(ids, model) {
        const found = new Map();
        for (let from = 0; from < (ids?.length ?? 0); from += PAGE_SIZE) {
            const asked = ids.slice(from, from + PAGE_SIZE);
            const { records } = await host.call('records.get', { model, ids: asked.map(String) });
            const byId = new Map(records.map((record) => [String(record.id), record]));
            for (const id of asked) {
                const record = byId.get(String(id));
                if (record) found.set(id, record);
            }
        }
        return found;
    }

    async function* listRecords(model, options) {
        let cursor = options?.cursor;
        do {
            const page = await host.call('records.list', { model, cursor, limit: PAGE_SIZE });
            yield* page.records;
            cursor = page.nextCursor;
        } while (cursor);
    }

    async function setMergingStrategy({ strategy }, model) {
        if (merging.has(model)) {
            await log(`The merging strategy of ${model} is already set for this run; this call is ignored`, { level: 'warn' });
            return;
        }
        if (written.has(model)) {
            await log(`The merging strategy of ${model} must be set before its first batch call; this call is ignored`, {
                level: 'warn'
            });
            return;
        }
        await host.call('merging.set', { model, strategy });
        merging.add(model);
        await log(`Merging strategy of ${model} set to ${strategy}`, { level: 'info' });
    }

    return {
        batchSave,
        batchSend: batchSave,
        batchUpdate: (records, model) => batch('records.update', 'update', records, model),
        batchDelete: (records, model) => batch('records.delete', 'delete', records, model),
        getRecordsByIds,
        listRecords,
        trackDeletesStart: async (model) => void (await host.call('trackDeletes.start', { model })),
        trackDeletesEnd: async (model) => deletedKeys(await host.call('trackDeletes.end', { model })),
        deleteRecordsFromPreviousExecutions: async (model) =>
            deletedKeys(await host.call('records.deletePrevious', { model })),
        setMergingStrategy
    };
}

/** Each record becomes text once; yields the inside of one request's list at a time. */
function* requestTexts(records) {
    let texts = [];
    let size = 0;
    for (const record of records) {
        const text = JSON.stringify(withoutMetadata(record)) ?? 'null';
        if (texts.length === BATCH_SIZE || (texts.length > 0 && size + text.length > BATCH_TEXT)) {
            yield texts.join(',');
            texts = [];
            size = 0;
        }
        texts.push(text);
        size += text.length;
    }
    yield texts.join(',');
}

/** Records read from the cache may be written back: the platform's own field is not the user's. */
function withoutMetadata(record) {
    if (record === null || typeof record !== 'object' || !('_nango_metadata' in record)) return record;
    const { _nango_metadata, ...rest } = record;
    return rest;
}

const deletedKeys = (reply) => ({ deletedKeys: reply.deletedKeys ?? [] });
