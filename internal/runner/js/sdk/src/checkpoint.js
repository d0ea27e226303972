// Checkpoints: a small flat object that survives the run, so that the next one resumes where this one stopped.

import { isCancellation, renamed } from './errors.js';

/** @param {{host: import('./host.js').Host}} deps */
export function createCheckpoint({ host }) {
    async function attempt(doing, op, request) {
        try {
            return await host.call(op, request);
        } catch (err) {
            if (isCancellation(err)) throw err;
            throw renamed(err, `Error ${doing} checkpoint: ${err?.message}`);
        }
    }

    return {
        async getCheckpoint() {
            try {
                return (await host.call('checkpoint.get')).checkpoint ?? null;
            } catch (err) {
                if (isCancellation(err)) throw err;
                // Unreadable counts as none: starting over is safe, failing every run is not.
                return null;
            }
        },
        async saveCheckpoint(checkpoint) {
            await attempt('saving', 'checkpoint.save', { checkpoint });
        },
        async clearCheckpoint() {
            await attempt('clearing', 'checkpoint.clear');
        }
    };
}
