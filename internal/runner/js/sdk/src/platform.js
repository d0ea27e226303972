// Calls to the platform itself: locks, and starting other functions.

import { response } from './axios.js';

/** @param {{host: import('./host.js').Host}} deps */
export function createLocks({ host }) {
    return {
        tryAcquireLock: async ({ key, ttlMs }) => Boolean((await host.call('lock.acquire', { key, ttlMs })).acquired),
        releaseLock: async ({ key }) => Boolean((await host.call('lock.release', { key })).released),
        releaseAllLocks: async () => void (await host.call('lock.releaseAll'))
    };
}

/** @param {{host: import('./host.js').Host}} deps */
export function createTriggers({ host }) {
    const accepted = (op, body) => response({ status: 200, statusText: 'OK' }, body, { url: op, method: 'post', headers: {} });

    return {
        async triggerAction(providerConfigKey, connectionId, action, input) {
            return (await host.call('action.trigger', { providerConfigKey, connectionId, action, input })).output;
        },
        async triggerSync(providerConfigKey, connectionId, sync, mode) {
            const request = { providerConfigKey, connectionId, syncs: [sync] };
            if (typeof mode === 'boolean') request.syncMode = mode ? 'full_refresh' : 'incremental';
            else if (typeof mode === 'string') request.syncMode = mode;
            else if (mode) request.opts = mode;
            return accepted('sync.trigger', await host.call('sync.trigger', request));
        },
        async startSync(providerConfigKey, syncs, connectionId) {
            return accepted('sync.start', await host.call('sync.start', { providerConfigKey, connectionId, syncs }));
        }
    };
}
